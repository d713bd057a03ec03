//! Numbers as people read them.

/// `1,234,567`, with a true minus.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0.0 && digits != "0" { format!("\u{2212}{text}") } else { text }
}

/// `+1,234`.
pub fn signed(number: f64) -> String {
    let text = grouped(number);
    if text.starts_with('\u{2212}') { text } else { format!("+{text}") }
}

/// `12.3`.
pub fn tenths(number: f64) -> String {
    format!("{number:.1}").replace('-', "\u{2212}")
}

/// `45 s`, `12 min`, `1.5 h`.
pub fn duration(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let shown = [0.4, -0.4, 999.0, 1000.0, -1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "0", "999", "1,000", "\u{2212}1,234,567"]);
        assert_eq!([12.0, -12.0].map(signed), ["+12", "\u{2212}12"]);
        assert_eq!([12.34, -0.5].map(tenths), ["12.3", "\u{2212}0.5"]);
        assert_eq!([45.0, 720.0, 5400.0].map(duration), ["45 s", "12 min", "1.5 h"]);
    }
}
