//! Reads `nodes.csv`, `jobs.csv` and `signals/NAME.csv`.
//!
//! | file | columns | what else is said |
//! |---|---|---|
//! | nodes | `name`, `gpu_model`, `gpus` | others that describe the GPU model may stand there; the manifests count |
//! | jobs | `submit`, `gpus`, `duration_s`, optionally `usd_per_gpu_hour`, `preemptible` | in any order; outside of the window they are left out |
//! | signals | `time`, `value` | in the order of time; of equal times the last counts; a gap holds the last value |
//!
//! A file may have up to 64 MiB (two million jobs), unpacked if its name ends in `.gz`. A job that is larger
//! than the site is no error: it waits like any other, and is lost when its patience ends.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use super::SiteError;

/// A row of `nodes.csv`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The node's name.
    pub name: String,
    /// Its GPU model.
    pub model: String,
    /// Its GPUs.
    pub gpus: u32,
    /// The line.
    pub line: u64,
}

/// A row of `jobs.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// When it was submitted.
    pub submit: Timestamp,
    /// Its GPUs.
    pub gpus: u32,
    /// How long it ran, s.
    pub duration: f64,
    /// What it pays, USD per GPU-hour.
    pub price: Option<f64>,
}

/// What a row of `nodes.csv` says of its GPU model, to draft manifests from.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRow {
    /// The GPU model.
    pub model: String,
    /// GiB.
    pub memory_gib: f64,
    /// H/s of a GPU.
    pub hashrate: f64,
    /// A GPU that mines, W.
    pub mining_watts: f64,
    /// A GPU that runs a job, W.
    pub hpc_watts: f64,
    /// A GPU without work, W.
    pub idle_watts: f64,
    /// The rest of the node, W.
    pub host_watts: f64,
    /// May it serve HPC?
    pub eligible: bool,
}

const GPUS_MAX: u32 = 1_000_000;
/// Sums of numbers up to here are finite, whatever is done with them.
const NUMBER_MAX: f64 = 1e12;
/// Unpacked size of a table, bytes: 10 kB of a hostile `jobs.csv.gz` must not fill the memory.
const SIZE_MAX: u64 = 64 << 20;
const NODE_COLUMNS: [&str; 3] = ["name", "gpu_model", "gpus"];
/// What describes the GPU model of a node. The manifests count; drafts are made from it.
const MODEL_COLUMNS: [&str; 7] = [
    "vram_gib",
    "hashrate_hps_per_gpu",
    "mining_w_per_gpu",
    "hpc_w_per_gpu",
    "idle_w_per_gpu",
    "host_w",
    "hpc_eligible",
];

/// Reads what `nodes.csv` says of GPU models.
pub fn models(file: &Path) -> Result<Vec<ModelRow>, SiteError> {
    let mut table = Table::open(file, &[&NODE_COLUMNS[..], &MODEL_COLUMNS].concat(), &[])?;
    let mut rows = Vec::new();
    while let Some(row) = table.next()? {
        rows.push(ModelRow {
            model: row.text("gpu_model")?.to_owned(),
            memory_gib: row.number("vram_gib")?,
            hashrate: row.number("hashrate_hps_per_gpu")?,
            mining_watts: row.number("mining_w_per_gpu")?,
            hpc_watts: row.number("hpc_w_per_gpu")?,
            idle_watts: row.number("idle_w_per_gpu")?,
            host_watts: row.number("host_w")?,
            eligible: row.text("hpc_eligible")? == "yes",
        });
    }
    Ok(rows)
}

/// Reads `nodes.csv`.
pub fn nodes(file: &Path) -> Result<Vec<NodeRow>, SiteError> {
    let mut table = Table::open(file, &NODE_COLUMNS, &MODEL_COLUMNS)?;
    let mut rows = Vec::new();
    while let Some(row) = table.next()? {
        rows.push(NodeRow {
            name: row.text("name")?.to_owned(),
            model: row.text("gpu_model")?.to_owned(),
            gpus: row.count("gpus", 16)?,
            line: row.line,
        });
    }
    if rows.is_empty() {
        return Err(SiteError::wrong(file, None, "there is no node: a site needs at least one"));
    }
    let mut names: Vec<_> = rows.iter().map(|row| (&row.name, row.line)).collect();
    names.sort();
    if let Some([_, (name, line)]) = names.array_windows().find(|[one, other]| one.0 == other.0) {
        let problem = format!("the node {name} was there before: give every node its own name");
        return Err(SiteError::wrong(file, Some(*line), problem));
    }
    Ok(rows)
}

/// Reads `jobs.csv`, in the order of submission.
pub fn jobs(file: &Path) -> Result<Vec<JobRow>, SiteError> {
    let optional = ["usd_per_gpu_hour", "preemptible"];
    let mut table = Table::open(file, &["submit", "gpus", "duration_s"], &optional)?;
    let mut rows = Vec::new();
    while let Some(row) = table.next()? {
        let price = row.optional("usd_per_gpu_hour").map(|_| row.positive("usd_per_gpu_hour"));
        rows.push(JobRow {
            submit: row.time("submit")?,
            gpus: row.count("gpus", GPUS_MAX)?,
            duration: row.positive("duration_s")?,
            price: price.transpose()?,
        });
    }
    rows.sort_by_key(|row| row.submit);
    Ok(rows)
}

/// Reads `signals/NAME.csv`.
pub fn signal(file: &Path) -> Result<Vec<(Timestamp, f64)>, SiteError> {
    signal_by(file, |row| row.number("value"))
}

/// Reads `signals/NAME.csv` of something that has no negative price.
pub fn positive_signal(file: &Path) -> Result<Vec<(Timestamp, f64)>, SiteError> {
    signal_by(file, |row| row.positive("value"))
}

fn signal_by(
    file: &Path,
    value: impl Fn(&Row<'_>) -> Result<f64, SiteError>,
) -> Result<Vec<(Timestamp, f64)>, SiteError> {
    let mut table = Table::open(file, &["time", "value"], &[])?;
    let mut points: Vec<(Timestamp, f64)> = Vec::new();
    while let Some(row) = table.next()? {
        let point = (row.time("time")?, value(&row)?);
        if points.last().is_some_and(|last| last.0 > point.0) {
            return Err(row.wrong("time", "is before the line above: sort the file by time"));
        }
        points.push(point);
    }
    if points.is_empty() {
        return Err(SiteError::wrong(file, None, "there is no value: a signal needs at least one"));
    }
    Ok(points)
}

/// A CSV file with a header, read row by row.
struct Table<'f> {
    file: &'f Path,
    reader: csv::Reader<Limited<Box<dyn Read>>>,
    header: StringRecord,
}

/// One row and where it stands.
struct Row<'t> {
    file: &'t Path,
    header: &'t StringRecord,
    record: StringRecord,
    line: u64,
}

impl<'f> Table<'f> {
    /// Opens a file, compressed if its name ends in `.gz`, and checks its header.
    fn open(file: &'f Path, required: &[&str], optional: &[&str]) -> Result<Self, SiteError> {
        let opened = File::open(file).map_err(|source| SiteError::Unreadable {
            file: file.to_owned(),
            remedy: "is the path right? `switchyard backtest init DIR` writes an example site",
            source,
        })?;
        let zipped = file.extension().is_some_and(|extension| extension == "gz");
        let bytes: Box<dyn Read> =
            if zipped { Box::new(MultiGzDecoder::new(opened)) } else { Box::new(opened) };
        let bytes = Limited { bytes, left: SIZE_MAX };
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(false).from_reader(bytes);
        let header = reader.headers().map_err(|error| unreadable(file, &error))?.clone();
        for column in required {
            if !header.iter().any(|found| found == *column) {
                let problem =
                    format!("the column {column} is missing: the first line names the columns");
                return Err(SiteError::wrong(file, Some(1), problem));
            }
        }
        let known = |found: &&str| required.contains(found) || optional.contains(found);
        if let Some(unknown) = header.iter().find(|found| !known(found)) {
            let all = [required, optional].concat().join(", ");
            let problem = format!("the column {unknown:?} is not known: the columns are {all}");
            return Err(SiteError::wrong(file, Some(1), problem));
        }
        Ok(Self { file, reader, header })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>, SiteError> {
        let mut record = StringRecord::new();
        let more =
            self.reader.read_record(&mut record).map_err(|error| unreadable(self.file, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        Ok(more.then_some(Row { file: self.file, header: &self.header, record, line }))
    }
}

fn unreadable(file: &Path, error: &csv::Error) -> SiteError {
    let line = error.position().map(csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::Io(error) => format!("cannot be read to its end: {error}"),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} fields where the first line has {expected_len}: one for each column")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8: save the file as plain text".to_owned(),
        _ => format!("is not CSV: {error}"),
    };
    SiteError::wrong(file, line, problem)
}

/// Bytes that may not be more than so many.
struct Limited<R> {
    bytes: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!("it has more than {} MiB unpacked", SIZE_MAX >> 20))
        })?;
        Ok(count)
    }
}

impl Row<'_> {
    fn optional(&self, column: &str) -> Option<&str> {
        let place = self.header.iter().position(|name| name == column)?;
        self.record.get(place).filter(|text| !text.is_empty())
    }

    fn text(&self, column: &str) -> Result<&str, SiteError> {
        self.optional(column).ok_or_else(|| self.wrong(column, "is empty: give a value"))
    }

    fn number(&self, column: &str) -> Result<f64, SiteError> {
        let number = self.text(column)?.parse::<f64>().ok();
        let number = number.filter(|number| number.abs() <= NUMBER_MAX);
        number.ok_or_else(|| self.wrong(column, "is no number up to 1e12: write it as 0.065"))
    }

    fn positive(&self, column: &str) -> Result<f64, SiteError> {
        let number = self.number(column)?;
        if number < 0.0 { Err(self.wrong(column, "must not be negative")) } else { Ok(number) }
    }

    fn count(&self, column: &str, max: u32) -> Result<u32, SiteError> {
        let count =
            self.text(column)?.parse::<u32>().ok().filter(|count| (1..=max).contains(count));
        count.ok_or_else(|| self.wrong(column, &format!("is no whole number from 1 to {max}")))
    }

    fn time(&self, column: &str) -> Result<Timestamp, SiteError> {
        let time = self.text(column)?.parse().ok();
        time.ok_or_else(|| self.wrong(column, "is no time: write it as 2021-02-14T00:00:00Z"))
    }

    fn wrong(&self, column: &str, problem: &str) -> SiteError {
        // What stands there tells a person more than its place.
        let found = self.optional(column).map_or(String::new(), |text| {
            format!(" {:?}", text.chars().take(40).collect::<String>())
        });
        SiteError::wrong(self.file, Some(self.line), format!("{column}{found} {problem}"))
    }
}
