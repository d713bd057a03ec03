//! A real browser: Chromium without a window.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde::Deserialize;
use tempfile::TempDir;

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Of the window, px.
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

pub const DESK: Look = Look { width: 1280, height: 900, dark: false };
pub const PHONE: Look = Look { width: 390, height: 844, dark: false };

impl Look {
    pub fn dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// What the page told of itself, when everything was drawn.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Errors, refused loads, and whatever was written on the console.
    pub complaints: Vec<String>,
    /// Width of the window and of what is in it, px.
    pub window: f64,
    pub content: f64,
    /// Colours of the page, of the first chart and of its writing.
    pub paper: String,
    pub card: String,
    pub ink: String,
    pub charts: Vec<ChartSeen>,
    /// The charts of the second site that have a choice, after something else was chosen.
    pub chosen: Vec<ChartSeen>,
}

#[derive(Debug, Deserialize)]
pub struct ChartSeen {
    pub id: String,
    pub width: f64,
    /// Lines, areas and points that have a shape.
    pub marks: usize,
    pub shapes: String,
}

/// Appended to the page: waits for the charts and writes down what they look like.
const PROBE: &str = include_str!("probe.js");

/// Opens a page and lets it tell.
pub fn look(page: &str, look: Look) -> Seen {
    let early = "<script>window.complaints = [];
        for (const kind of ['error', 'unhandledrejection', 'securitypolicyviolation']) {
            addEventListener(kind, (event) => complaints.push(
                `${kind}: ${event.message ?? event.reason ?? event.blockedURI}`));
        }</script>";
    let probed = page
        .replacen("<head>", &format!("<head>{early}"), 1)
        .replace("</body>", &format!("<script>{PROBE}</script></body>"));
    let (out, log) = run(&probed, look, &["--dump-dom".into()]);
    let told = out.split_once("<pre id=\"told\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (told, _) = told.unwrap_or_else(|| panic!("the page was not drawn:\n{log}"));
    let told = told.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut seen: Seen = serde_json::from_str(&told).unwrap();
    let console = log.lines().filter(|line| line.contains(":CONSOLE"));
    seen.complaints.extend(console.map(ToOwned::to_owned));
    seen
}

/// Takes a picture of a page.
pub fn picture(page: &str, look: Look, file: &Path) {
    let mut argument = OsString::from("--screenshot=");
    argument.push(file);
    run(page, look, &[argument]);
    assert!(file.exists(), "no picture was taken");
}

/// What the browser wrote to its output and to its log. It is offline.
fn run(page: &str, look: Look, more: &[OsString]) -> (String, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("page.html");
    fs::write(&file, page).unwrap();
    let scheme = u8::from(!look.dark);
    let output = Command::new(&*BROWSER)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND"])
        .args(["--virtual-time-budget=60000", "--run-all-compositor-stages-before-draw"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--window-size={},{}", look.width, look.height))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .args(more)
        .arg(&file)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

/// The browser: `SWITCHYARD_BROWSER`, or one on the path. A machine of Debian's where we are root (such
/// as a container that runs the tests) gets `chromium-headless-shell`, 65 MB, in half a minute; anybody
/// else is told what to install.
static BROWSER: LazyLock<PathBuf> = LazyLock::new(|| {
    if let Some(given) = env::var_os("SWITCHYARD_BROWSER") {
        return given.into();
    }
    on_path().or_else(install).unwrap_or_else(|| {
        panic!(
            "no browser: install Chromium (Debian: apt install chromium-headless-shell), or name a \
             Chromium or Chrome in SWITCHYARD_BROWSER"
        )
    })
});

fn on_path() -> Option<PathBuf> {
    let names =
        ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome"];
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| {
        env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
    })
}

fn install() -> Option<PathBuf> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args([
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=300",
        ]);
        command.args(arguments).status().is_ok_and(|status| status.success())
    };
    eprintln!("no browser on the path: installing chromium-headless-shell by apt-get …");
    let package = ["install", "-y", "--no-install-recommends", "chromium-headless-shell"];
    (apt(&package) || apt(&["update"]) && apt(&package)).then(on_path).flatten()
}
