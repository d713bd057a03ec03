//! A page is looked at in a real browser, on a desk and on a phone, by day and by night.
#![allow(clippy::unwrap_used, clippy::panic)]

mod browser;

use std::{env, path::PathBuf, sync::LazyLock};

use browser::{DESK, Look, PHONE, look, picture};
use switchyard_report::{OWN, Report, Run, SiteRuns, page};
use switchyard_sim::{
    engine, example,
    policy::{Fixed, Policy, Rules, Serve, Switch},
    site::{Placement, Site},
};

static SITES: LazyLock<Vec<Site>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    example::write(dir.path()).unwrap();
    let read = |placement| Site::read(dir.path(), Some(placement)).unwrap();
    let mut other = read(Placement::MostAllocated);
    other.name = String::from("</script><b>&other");
    vec![read(Placement::LeastAllocated), other]
});

/// Policies enough for every colour and dash.
fn policies(site: &Site) -> Vec<Box<dyn Policy>> {
    let rules = |name: &str, serve, switch| Box::new(Rules::new(name, serve, switch));
    vec![
        Box::new(Fixed::mining(site)),
        Box::new(Fixed::hpc(site)),
        rules("hpc-whenever-asked", Serve::Always, Switch::Mine),
        rules("greedy", Serve::IfPays(1.0), Switch::Percent(0.0)),
        rules("percent-12", Serve::IfPays(1.12), Switch::Percent(0.12)),
        rules("percent-3", Serve::IfPays(1.03), Switch::Percent(0.03)),
        rules("average-24h", Serve::IfPays(1.0), Switch::Average(86_400.0)),
        rules("ski-rental", Serve::IfPays(1.0), Switch::SkiRental),
        rules(OWN, Serve::Always, Switch::SkiRental),
    ]
}

fn runs(site: &Site) -> SiteRuns<'_> {
    let record = |mut policy: Box<dyn Policy>| {
        let (outcome, timeline) = engine::record(site, policy.as_mut());
        Run { outcome, timeline }
    };
    let runs: Vec<Run> = policies(site).into_iter().map(record).collect();
    let best = runs.iter().map(|run| run.outcome.usd_net).fold(0.0, f64::max);
    let note = Some("An example: no site of anybody's.".to_owned());
    SiteRuns { site, note, usd_bound: Some(best * 1.04), runs }
}

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let title = "What would it have earned?".to_owned();
    page(&Report { title, sites: SITES.iter().map(runs).collect() })
});

/// Opens the page and checks what has to hold everywhere.
fn check(at: Look) -> browser::Seen {
    let seen = look(&PAGE, at);
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert!(seen.content <= seen.window, "{} px in {} px", seen.content, seen.window);
    assert_eq!(seen.charts.len(), 8);
    for chart in &seen.charts {
        let least = match chart.id.rsplit('-').next() {
            Some("earned") => 10, // nine policies and the bound
            Some("uses") => 5,    // uses that occur, as areas and lines
            Some("prices") => 3,
            _ => 8, // always-mining starts no job
        };
        assert!(chart.marks >= least, "{}: {} marks", chart.id, chart.marks);
        assert!(chart.width > 300.0 && chart.width <= seen.window, "{}: {}", chart.id, chart.width);
    }
    seen
}

#[test]
fn a_desk_shows_it() {
    let seen = check(DESK);
    assert_eq!(seen.paper, "rgb(246, 247, 249)");
    assert_eq!(seen.card, "rgb(255, 255, 255)");
    assert_eq!(seen.ink, "rgb(27, 31, 36)");
}

#[test]
fn a_phone_shows_it() {
    let seen = check(PHONE);
    assert!((seen.window - 390.0).abs() < 1.0, "{}", seen.window);
}

#[test]
fn the_night_is_dark() {
    let seen = check(DESK.dark());
    assert_eq!(seen.paper, "rgb(16, 20, 24)");
    assert_eq!(seen.card, "rgb(24, 29, 35)");
    assert_eq!(seen.ink, "rgb(230, 233, 237)");
    check(PHONE.dark());
}

#[test]
fn another_policy_can_be_chosen() {
    let seen = look(&PAGE, DESK);
    assert_eq!(seen.chosen.len(), 2);
    for chosen in seen.chosen {
        let before = seen.charts.iter().find(|chart| chart.id == chosen.id).unwrap();
        assert!(chosen.marks > 0 && chosen.shapes != before.shapes, "{}", chosen.id);
    }
}

#[test]
fn a_page_is_whole_and_always_the_same() {
    let titled = || page(&Report { title: "A & B <c>".to_owned(), sites: vec![runs(&SITES[1])] });
    let text = titled();
    assert_eq!(text, titled());
    assert!(text.contains("<title>A &#38; B &#60;c&#62;</title>"), "{}", &text[..600]);
    assert!(!text.contains("</script><b>"));
    assert!(text.len() < 8 << 20, "{} bytes", text.len());
}

/// `SWITCHYARD_PICTURES=DIR cargo test -p switchyard-report` leaves pictures to look at.
#[test]
fn pictures_are_taken_when_asked_for() {
    let Some(dir) = env::var_os("SWITCHYARD_PICTURES").map(PathBuf::from) else { return };
    let tall = |look: Look, height| Look { height, ..look };
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("page.html"), &*PAGE).unwrap();
    for (name, look) in [
        ("desk", tall(DESK, 1900)),
        ("desk-dark", tall(DESK, 1900).dark()),
        ("phone", tall(PHONE, 3300)),
        ("phone-dark", tall(PHONE, 3300).dark()),
    ] {
        picture(&PAGE, look, &dir.join(format!("{name}.png")));
    }
}
