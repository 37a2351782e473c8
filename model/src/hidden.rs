//! Characters that would not show, or would show something other than what the text holds.
//!
//! A line of a log is written by whoever reaches the log: shown to a person, it must not hide a part of itself, turn the
//! order of its text, steer a terminal, or look like another line. What shows it writes such characters as escapes.

use std::fmt::Write as _;

/// Whether a character hides whatever stands before it: controls but tab and newline, what turns the direction of text,
/// separators of lines, fillers, tags, and what else is ignored where it is drawn.
pub fn is_hidden(c: char) -> bool {
    match c {
        '\t' | '\n' => false,
        ' '..='~' => false,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => true,
        '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' => true,
        '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' => true,
        '\u{fdd0}'..='\u{fdef}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' => true,
        '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        c => c.is_control() || u32::from(c) & 0xfffe == 0xfffe,
    }
}

/// The characters of a text, each with whether it hides where it stands. Joiners and selectors of a variant belong to the
/// scripts and emoji that they shape; elsewhere, or many of them, they hide.
pub fn marked(text: &str) -> impl Iterator<Item = (char, bool)> {
    let mut takes_joiners = false;
    text.chars().map(move |c| {
        let is_joiner = matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}');
        let hides = if is_joiner { !takes_joiners } else { is_hidden(c) };
        // The first script that joiners shape is the Arabic one.
        takes_joiners = !hides && if is_joiner { c == '\u{fe0f}' } else { c >= '\u{600}' };
        (c, hides)
    })
}

/// The text with what hides as `\u{202e}`.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (c, hides) in marked(text) {
        if hides {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON with what hides as `\u202e`: the same value to whoever reads it.
pub fn escaped_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for (c, hides) in marked(json) {
        if hides {
            // Writing to a String does not fail.
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(escaped(text), expected);
    }

    #[test]
    fn what_steers_turns_or_hides_is_an_escape() {
        check("a\tb\nc", "a\tb\nc");
        check("\x1b[2J\r\u{7}\u{9b}1m\u{85}", "\\u{1b}[2J\\u{d}\\u{7}\\u{9b}1m\\u{85}");
        check("\u{202e}gnp.exe\u{2066}\u{200f}\u{61c}", "\\u{202e}gnp.exe\\u{2066}\\u{200f}\\u{61c}");
        check("pass\u{200b}word\u{feff}\u{2028}", "pass\\u{200b}word\\u{feff}\\u{2028}");
        check("\u{e0041}\u{e0100}\u{fffe}", "\\u{e0041}\\u{e0100}\\u{fffe}");
    }

    #[test]
    fn what_is_written_is_left_alone() {
        let text = "שלום مرحبا 日本語 🙂 é 👩\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 می\u{200c}خواهم";
        check(text, text);
        check("a\u{200d}b é\u{200c} a\u{fe00}\u{fe01}", "a\\u{200d}b é\\u{200c} a\\u{fe00}\\u{fe01}");
        check("👩\u{200d}\u{200d}\u{200d}", "👩\u{200d}\\u{200d}\\u{200d}");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left_and_json_keeps_its_value(text in any::<String>()) {
            prop_assert!(marked(&escaped(&text)).all(|(_, hides)| !hides));
            let json = serde_json::to_string(&text).unwrap();
            let shown = escaped_json(&json);
            prop_assert!(marked(&shown).all(|(_, hides)| !hides));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }
}
