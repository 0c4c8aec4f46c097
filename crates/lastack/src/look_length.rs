//! How long to look, as people type it.

use std::time::Duration;

/// A longer look is the business of a recorder.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Reads `500ms`, `1.5s`, `10s`, `2m`, `1h` or `0`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits =
        text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
    let (number, unit) = text.split_at(digits);
    let scale_ms = match unit.trim() {
        "ms" => 1.0,
        "s" => 1_000.0,
        "m" | "min" => 60_000.0,
        "h" => 3_600_000.0,
        "" if number == "0" => 0.0,
        "" if number.parse::<f64>().is_ok() => {
            return Err(format!("it lacks a unit: {number}s or {number}ms"));
        }
        _ => return Err("a length is a number with a unit: 500ms, 10s, 2m, or 0 for one glance".to_owned()),
    };
    let number: f64 =
        number.parse().map_err(|_| "a length is a number with a unit: 500ms, 10s, 2m".to_owned())?;
    let length = Duration::try_from_secs_f64(number * scale_ms / 1_000.0).unwrap_or(Duration::MAX);
    if length > LONGEST {
        return Err("a look lasts at most 1h".to_owned());
    }
    Ok(Duration::from_millis(u64::try_from(length.as_millis()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_units_and_an_end() {
        let ms = |text: &str| parse(text).map(|length| length.as_millis());
        for (text, length) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1s", 1_000),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(ms(text), Ok(length), "{text}");
        }
        assert!(ms("5").unwrap_err().contains("5s"), "{:?}", ms("5"));
        for text in [
            "",
            "s",
            "-1s",
            "1d",
            "61m",
            "1e9s",
            "99999999999999999999999s",
            ".",
            "1.2.3s",
            "1 fortnight",
            "inf",
        ] {
            assert!(ms(text).is_err(), "{text}");
        }
    }
}
