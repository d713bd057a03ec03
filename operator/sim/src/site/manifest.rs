//! Reads `site.yaml`: the same manifests as live, and a `Site` with the numbers of the model.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};
use serde_path_to_error::Track;
use serde_yaml::{Deserializer as Document, Value};
use switchyard_api::{GPUPool, MiningProfile, Period, ProfileRef, ProfitabilitySignal};

use super::{Placement, SiteError, draft};

/// Size of `site.yaml`, bytes.
const SIZE_MAX: u64 = 1 << 20;
/// Length of the window.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 366 * 24);

/// Everything that `site.yaml` says.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file.
    pub file: PathBuf,
    /// The name of the site.
    pub name: String,
    /// The numbers of the model.
    pub site: SiteSpec,
    /// The pool.
    pub pool: GPUPool,
    /// The profiles by name.
    pub profiles: BTreeMap<ProfileRef, MiningProfile>,
    /// The signals by name.
    pub signals: BTreeMap<String, ProfitabilitySignal>,
}

/// The numbers of the model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSpec {
    /// The start of the window.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
    /// The list of nodes, from the folder of `site.yaml`.
    #[serde(default = "nodes_file")]
    pub nodes: PathBuf,
    /// The list of jobs; by default `jobs.csv`, or else `jobs.csv.gz`.
    #[serde(default)]
    pub jobs: Option<PathBuf>,
    /// Files of signals by name; by default `signals/NAME.csv`.
    #[serde(default)]
    pub signals: BTreeMap<String, PathBuf>,
    /// The rules of the model where they differ from the usual.
    #[serde(default)]
    pub model: ModelSpec,
}

fn nodes_file() -> PathBuf {
    "nodes.csv".into()
}

/// The rules of the model where they differ from the usual.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModelSpec {
    /// Time between decisions, and how late signals are seen; 5m.
    pub step: Option<Period>,
    /// How long a job waits before it is lost; 2h.
    pub patience: Option<Period>,
    /// How many waiting jobs the scheduler looks at; 200.
    pub backfill: Option<usize>,
    /// `leastAllocated` or `mostAllocated`.
    pub placement: Option<String>,
    /// Time in transit by direction.
    #[serde(default)]
    pub transit: TransitSpec,
}

/// Time in transit by direction, where it differs from the usual.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransitSpec {
    /// 60s.
    #[serde(rename = "miningToHPC")]
    pub mining_to_hpc: Option<Period>,
    /// 120s.
    #[serde(rename = "hpcToMining")]
    pub hpc_to_mining: Option<Period>,
    /// 120s.
    #[serde(rename = "idleToMining")]
    pub idle_to_mining: Option<Period>,
    /// 10s.
    #[serde(rename = "miningToIdle")]
    pub mining_to_idle: Option<Period>,
    /// 60s.
    #[serde(rename = "idleToHPC")]
    pub idle_to_hpc: Option<Period>,
    /// 10s.
    #[serde(rename = "hpcToIdle")]
    pub hpc_to_idle: Option<Period>,
}

#[derive(Debug, Deserialize)]
struct SiteDocument {
    metadata: Name,
    spec: SiteSpec,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
}

impl Manifest {
    /// Reads the manifests of a site's folder, or those that a file of another name holds.
    pub fn read(path: &Path) -> Result<Self, SiteError> {
        let file = if path.is_dir() { path.join("site.yaml") } else { path.to_owned() };
        // A folder that has only tables is read by a draft of what it lacks.
        if path.is_dir() && !file.exists() && path.join("nodes.csv").exists() {
            return Self::parse(&file, &draft(path)?);
        }
        let text = read_text(&file).map_err(|source| SiteError::Unreadable {
            file: file.clone(),
            remedy: "a site is a folder with a site.yaml; `switchyard backtest init DIR` writes one",
            source,
        })?;
        Self::parse(&file, &text)
    }

    /// Reads manifests from a text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, SiteError> {
        let found = Found::read(file, text, |_| true)?;
        let (site, pool) = (found.site, found.pool);
        let site = site.ok_or_else(|| missing(file, "Site", "the window and the model"))?;
        let pool = pool.ok_or_else(|| missing(file, "GPUPool", "the policy to try"))?;
        if site.spec.end <= site.spec.start {
            let problem = "spec.end of the Site is not after spec.start: give a later one";
            return Err(SiteError::wrong(file, None, problem));
        }
        if site.spec.end.duration_since(site.spec.start) > LONGEST {
            let problem = "spec.end of the Site is more than ten years after spec.start: give an \
                           earlier one";
            return Err(SiteError::wrong(file, None, problem));
        }
        Ok(Self {
            file: file.to_owned(),
            name: site.metadata.name,
            site: site.spec,
            pool,
            profiles: found.profiles,
            signals: found.signals,
        })
    }

    /// A path of the manifest, from its own folder.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(relative)
    }

    /// The file of a signal.
    pub fn signal_file(&self, name: &str) -> PathBuf {
        let usual = || PathBuf::from("signals").join(format!("{name}.csv"));
        self.path(&self.site.signals.get(name).cloned().unwrap_or_else(usual))
    }

    /// The file of what was published beforehand of a signal that has a `spec.forecast`: beside its
    /// values, `NAME.forecast.csv`.
    pub fn forecast_file(&self, name: &str) -> Option<PathBuf> {
        self.signals.get(name)?.spec.forecast.as_ref()?;
        Some(self.signal_file(name).with_extension("forecast.csv"))
    }

    /// The file of the jobs.
    pub fn jobs_file(&self) -> PathBuf {
        let plain = self.path(Path::new("jobs.csv"));
        match &self.site.jobs {
            Some(named) => self.path(named),
            None if plain.exists() => plain,
            None => self.path(Path::new("jobs.csv.gz")),
        }
    }

    /// The placement that is asked for, if one is.
    pub fn placement(&self) -> Result<Option<Placement>, SiteError> {
        let Some(text) = &self.site.model.placement else { return Ok(None) };
        let problem =
            format!("spec.model.placement is {text:?}: it is leastAllocated or mostAllocated");
        let placement = text.parse().map_err(|_| SiteError::wrong(&self.file, None, problem))?;
        Ok(Some(placement))
    }
}

/// The one GPUPool among the manifests of a text; others may stand beside it.
pub fn pool(file: &Path, text: &str) -> Result<GPUPool, SiteError> {
    let found = Found::read(file, text, |kind| kind == "GPUPool")?;
    found.pool.ok_or_else(|| missing(file, "GPUPool", "the policy to try"))
}

#[derive(Default)]
struct Found {
    site: Option<SiteDocument>,
    pool: Option<GPUPool>,
    profiles: BTreeMap<ProfileRef, MiningProfile>,
    signals: BTreeMap<String, ProfitabilitySignal>,
}

impl Found {
    /// The manifests of a text whose kind is wanted.
    fn read(file: &Path, text: &str, wanted: impl Fn(&str) -> bool) -> Result<Self, SiteError> {
        let mut found = Self::default();
        // Read twice: once for the kind, and then as that kind, which keeps the lines of errors.
        let documents = || serde_yaml::Deserializer::from_str(text);
        for (document, again) in documents().zip(documents()) {
            let document = Value::deserialize(document).map_err(|error| not_yaml(file, &error))?;
            let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default();
            if !document.is_null() && wanted(kind) {
                found.add(file, kind, again)?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, file: &Path, kind: &str, document: Document<'_>) -> Result<(), SiteError> {
        match kind {
            "Site" => {
                let again = self.site.replace(read(file, kind, document)?).is_some();
                only_one(file, kind, again)
            }
            "GPUPool" => {
                let again = self.pool.replace(read(file, kind, document)?).is_some();
                only_one(file, kind, again)
            }
            "MiningProfile" => {
                let profile: MiningProfile = read(file, kind, document)?;
                let metadata = &profile.metadata;
                let name = ProfileRef {
                    namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
                    name: metadata.name.clone().unwrap_or_default(),
                };
                self.profiles.insert(name, profile);
                Ok(())
            }
            "ProfitabilitySignal" => {
                let signal: ProfitabilitySignal = read(file, kind, document)?;
                self.signals.insert(signal.metadata.name.clone().unwrap_or_default(), signal);
                Ok(())
            }
            other => {
                let problem = format!(
                    "kind {other:?} has no place here: a site has Site, GPUPool, MiningProfile and \
                     ProfitabilitySignal"
                );
                Err(SiteError::wrong(file, None, problem))
            }
        }
    }
}

/// Reads an object of a kind. A field that nobody knows is misspelled, and would be left out in silence.
fn read<K: DeserializeOwned>(
    file: &Path,
    kind: &str,
    document: Document<'_>,
) -> Result<K, SiteError> {
    let (mut track, mut unknown) = (Track::new(), Vec::new());
    let tracked = serde_path_to_error::Deserializer::new(document, &mut track);
    let object = serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()));
    let object = object.map_err(|error| {
        let ((line, text), field) = (place(&error), track.path().to_string());
        // YAML's own idea of the field is often only that of the one around it.
        let text = match text.split_once(": ") {
            Some((around, text)) if field.starts_with(around) => text,
            _ => &text,
        };
        SiteError::wrong(file, line, format!("{kind}: {field}: {text}"))
    })?;
    unknown.retain(|field| field != "apiVersion" && field != "kind");
    let Some(field) = unknown.first() else { return Ok(object) };
    let problem = format!("{kind}: there is no field {field}: correct its name, or leave it out");
    Err(SiteError::wrong(file, None, problem))
}

/// The line of an error, and its text without it.
fn place(error: &serde_yaml::Error) -> (Option<u64>, String) {
    let line = error.location().and_then(|place| u64::try_from(place.line()).ok());
    let text = error.to_string();
    let short = text.split(" at line ").next().unwrap_or(&text).to_owned();
    (line, short)
}

/// The text of a file, if it is not unreasonably long.
fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let length = fs::File::open(file)?.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    if length as u64 > SIZE_MAX {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(text)
}

fn only_one(file: &Path, kind: &str, again: bool) -> Result<(), SiteError> {
    let problem = || format!("there are two of kind {kind}: a site has one");
    if again { Err(SiteError::wrong(file, None, problem())) } else { Ok(()) }
}

fn not_yaml(file: &Path, error: &serde_yaml::Error) -> SiteError {
    let (line, text) = place(error);
    SiteError::wrong(file, line, format!("this is not YAML: {text}"))
}

fn missing(file: &Path, kind: &str, what: &str) -> SiteError {
    let problem = format!("there is no {kind}, which says {what}: add one");
    SiteError::wrong(file, None, problem)
}
