//! What did not run and why, and which of it was to be expected.

use anyhow::Context as _;
use std::path::Path;

/// Something that did not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Skip {
    /// The step or test.
    pub(super) name: String,
    /// What it lacked.
    pub(super) reason: String,
    /// True for a test that returned early, which its runner counts as passed.
    pub(super) passed_anyway: bool,
}

/// All skips of a run.
pub(super) struct Skips {
    expected: Vec<(String, String)>,
    all: Vec<Skip>,
}

impl Skips {
    /// Reads the list of expected skips.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let expected = lines.map(|line| {
            let (name, reason) =
                line.split_once(" : ").with_context(|| format!("no ` : ` in line `{line}`"))?;
            Ok((name.trim().to_owned(), reason.trim().to_owned()))
        });
        Ok(Self { expected: expected.collect::<anyhow::Result<_>>()?, all: Vec::new() })
    }

    pub(super) fn push(&mut self, skip: Skip) {
        self.all.push(skip);
    }

    /// Adds what tests wrote to their log: one `NAME<TAB>REASON` a line. No file means no skips.
    pub(super) fn extend_from_log(&mut self, log: &Path) {
        for line in std::fs::read_to_string(log).unwrap_or_default().lines() {
            let (name, reason) = line.split_once('\t').unwrap_or((line, "no reason given"));
            let name = name.to_owned();
            // A test with several parts may announce each; it is still one test.
            let passed_anyway = !self.all.iter().any(|skip| skip.passed_anyway && skip.name == name);
            self.all.push(Skip { name, reason: reason.to_owned(), passed_anyway });
        }
    }

    pub(super) fn all(&self) -> &[Skip] {
        &self.all
    }

    /// How many of them a test runner counted as passed.
    pub(super) fn passed_anyway(&self) -> usize {
        self.all.iter().filter(|skip| skip.passed_anyway).count()
    }

    pub(super) fn expected(&self, skip: &Skip) -> bool {
        self.expected.iter().any(|(name, reason)| matches(name, &skip.name) && matches(reason, &skip.reason))
    }

    /// How many are not expected.
    pub(super) fn unexpected(&self) -> usize {
        self.all.iter().filter(|skip| !self.expected(skip)).count()
    }
}

/// True if the whole text fits the pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    text.strip_prefix(start).is_some_and(|text| {
        text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(name: &str, reason: &str) -> Skip {
        Skip { name: name.into(), reason: reason.into(), passed_anyway: false }
    }

    #[test]
    fn a_pattern_fits_the_whole_text_or_not_at_all() {
        for (pattern, text) in
            [("a", "a"), ("a*", "a"), ("a*", "abc"), ("*c", "abc"), ("a*b*c", "a-b-b-c"), ("*", "")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*", "ba"), ("*c", "abcd"), ("a*b*c", "a-c-b"), ("", "a")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_skip_is_expected_only_for_the_listed_reason() {
        let mut skips = Skips::parse("# why\nconntrack_* : nft is not installed*\n").unwrap();
        skips.push(skip("conntrack_counts", "nft is not installed (nftables)"));
        assert_eq!(skips.unexpected(), 0);
        skips.push(skip("conntrack_counts", "no namespace"));
        skips.push(skip("other", "nft is not installed"));
        assert_eq!(skips.unexpected(), 2);
        assert!(Skips::parse("no separator").is_err());
    }

    #[test]
    fn a_test_that_skips_twice_passed_once() {
        let log = std::env::temp_dir().join(format!("skips-{}", std::process::id()));
        std::fs::write(&log, "a\tno root\na\tno nft\nb\n").unwrap();
        let mut skips = Skips::parse("").unwrap();
        skips.extend_from_log(&log);
        std::fs::remove_file(&log).unwrap();
        assert_eq!((skips.all().len(), skips.passed_anyway()), (3, 2));
        assert_eq!(skips.all()[2].reason, "no reason given");
    }
}
