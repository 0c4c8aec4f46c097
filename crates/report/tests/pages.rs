//! The page as people see it. Read a changed snapshot before you accept it
//! (`INSTA_UPDATE=always cargo test -p lastack-report --test pages`): it is the product.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cases;

use cases::Found;
use diagnose::Diagnosis;
use evidence::{Case, Exchange, Traffic};
use report::{Report, Style};
use unicode_width::UnicodeWidthChar;

fn page((case, diagnosis): &Found, width: usize, color: bool) -> String {
    let mut page = Vec::new();
    report::page::write(&Report::new(case, diagnosis), &mut page, Style { width, color }).unwrap();
    String::from_utf8(page).unwrap()
}

macro_rules! snapshots {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            let found = cases::$name();
            for width in [100, 80, 40] {
                insta::assert_snapshot!(format!("{}-{width}", stringify!($name)), page(&found, width, false));
            }
        }
    )+};
}

snapshots! { exhausted leaking healthy namespaces hostile empty crowded captured captured_hostile }

#[test]
fn colors_change_nothing_but_colors() {
    for (name, found) in cases::all() {
        let plain = page(&found, 80, false);
        let colored = page(&found, 80, true);
        assert!(!plain.contains('\u{1b}'), "{name}");
        assert_eq!(without_colors(&colored), plain, "{name}");
    }
    insta::assert_snapshot!("healthy-color", page(&cases::healthy(), 80, true).replace('\u{1b}', "ESC"));
}

fn without_colors(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}

#[test]
fn nothing_from_a_host_reaches_the_terminal_as_it_is() {
    for width in [1, 40, 80, 120] {
        for found in [cases::hostile(), cases::captured_hostile()] {
            let page = page(&found, width, false);
            let odd: Vec<char> = page
                .chars()
                .filter(|letter| *letter != '\n' && (letter.is_control() || letter.width() == Some(0)))
                .collect();
            assert!(odd.is_empty(), "{width}: {odd:?}");
            assert!(!page.contains('\u{202e}') && !page.contains('\u{200b}'), "{width}");
        }
    }
}

#[test]
fn a_capture_whose_syns_nobody_answered_is_not_just_fine() {
    let first_line = |connections: u64, unanswered: u64| {
        let endings =
            [("unanswered".to_owned(), unanswered)].into_iter().filter(|(_, count)| *count > 0).collect();
        let exchange = Exchange { connections, endings, ..Exchange::default() };
        let traffic = Traffic { connections, exchanges: vec![exchange], ..Traffic::default() };
        let case = Case { traffic: Some(traffic), ..Case::default() };
        page(&(case, Diagnosis::default()), 120, false).lines().next().unwrap().to_owned()
    };
    let fine = "Nothing wrong with how connections end in this capture";
    assert_eq!(first_line(900, 0), format!("{fine}."));
    assert_eq!(first_line(900, 1), format!("{fine}; 1 connection was not answered."));
    assert_eq!(first_line(9_000, 4_000), format!("{fine}; 4,000 connections were not answered."));
    assert_eq!(first_line(9_000, 9_000), "None of the 9,000 connections in this capture was answered.");
    assert_eq!(first_line(1, 1), "The connection in this capture was not answered.");
}

#[test]
fn every_line_keeps_within_the_page() {
    for (name, found) in cases::all() {
        for width in (40..130).step_by(3) {
            for line in page(&found, width, false).lines() {
                let columns: usize = line.chars().filter_map(UnicodeWidthChar::width).sum();
                let exempt = is_one_long_word_of_a_command(line);
                assert!(columns <= width.min(Style::WIDEST) || exempt, "{name} at {width}: {line}");
            }
        }
    }
}

/// A word of a command, with what its quotes hold: a break inside it would change the command.
fn is_one_long_word_of_a_command(line: &str) -> bool {
    let word = line.trim().trim_start_matches("$ ").trim_end_matches(" \\");
    let outside_quotes: String = word.split('\'').step_by(2).collect();
    !outside_quotes.contains(' ') && (line.contains('$') || line.contains('\''))
}

#[test]
fn a_page_of_any_width_has_an_end_and_says_the_same_words() {
    for (name, found) in cases::all() {
        for width in (0..40).chain([1_000, usize::MAX]) {
            let page = page(&found, width, width % 2 == 0);
            assert!(page.ends_with('\n') && page.len() < 200_000, "{name} at {width}");
        }
    }
}

#[test]
fn the_end_of_every_page_is_what_was_not_seen() {
    for (name, found) in cases::all() {
        let page = page(&found, 80, false);
        let report = Report::new(&found.0, &found.1);
        if report.coverage.is_empty() && report.unknown.is_empty() && !found.0.namespaces.is_empty() {
            assert!(page.ends_with("This look saw everything that its rules ask for.\n"), "{name}");
        } else {
            assert!(page.contains("\nWhat this look could not see\n"), "{name}");
        }
    }
}

#[test]
fn rules_that_wait_for_packets_are_one_line() {
    let text = br#"{"schema": "lastack.case/1", "namespaces": [{"name": "host"}]}"#;
    let case = evidence::Case::from_bytes(text).unwrap();
    let diagnosis = diagnose::diagnose(&case);
    let page = page(&(case, diagnosis), 100, false);
    let lines: Vec<&str> = page.lines().filter(|line| line.contains("no packets were read")).collect();
    assert_eq!(lines, ["  - no packets were read; undecided: 5 rules"]);
}
