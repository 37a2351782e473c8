//! Airflow 3's structured exceptions (`error_detail`, `exception`) as the text Python would print, so that a
//! search for `ValueError: could not divide` or for a frame's file finds the record.

use serde_json::Value;

use crate::record::CUT_MARK;

/// Longest text of one line's exceptions, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Frames shown of one exception: half from its start, half from its end, where the fault is.
const FRAMES_MAX: usize = 100;
/// Longest value of one exception, in bytes: so that a chain keeps all its names.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// How deep exception groups may nest.
const DEPTH_MAX: usize = 8;

/// The text of a list of exceptions, the last raised first; none where `value` is something else.
pub(super) fn render(value: &Value) -> Option<String> {
    let stacks = value.as_array()?;
    if !stacks.iter().any(|s| s.get("exc_type").is_some()) {
        return None;
    }
    let mut out = Text { text: String::new(), full: false };
    out.chain(stacks, 0);
    let mut text = out.text;
    if out.full {
        text.push_str(CUT_MARK);
    }
    text.truncate(text.trim_end_matches('\n').len());
    Some(text)
}

struct Text {
    text: String,
    full: bool,
}

impl Text {
    /// Python's order: the first cause first.
    fn chain(&mut self, stacks: &[Value], depth: usize) {
        for (i, stack) in stacks.iter().enumerate().rev() {
            self.stack(stack, depth);
            if i > 0 {
                let cause = stack.get("is_cause").and_then(Value::as_bool).unwrap_or_default();
                self.push(if cause {
                    "\nThe above exception was the direct cause of the following exception:\n\n"
                } else {
                    "\nDuring handling of the above exception, another exception occurred:\n\n"
                });
            }
        }
    }

    fn stack(&mut self, stack: &Value, depth: usize) {
        let frames = stack.get("frames").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if !frames.is_empty() {
            self.push("Traceback (most recent call last):\n");
        }
        let left_out = frames.len().saturating_sub(FRAMES_MAX);
        for (i, frame) in frames.iter().enumerate() {
            if left_out > 0 && i == FRAMES_MAX / 2 {
                self.push(&format!("  [{left_out} frames left out]\n"));
            }
            if i < FRAMES_MAX / 2 || i >= FRAMES_MAX / 2 + left_out {
                self.frame(frame);
            }
        }
        if let Some(error) = stack.get("syntax_error").filter(|e| e.is_object()) {
            self.syntax_error(error);
        }
        self.push(text(stack, "exc_type"));
        let value = text(stack, "exc_value");
        if !value.is_empty() {
            self.push(": ");
            self.push(&crate::record::cut(value, VALUE_BYTES_MAX));
        }
        self.push("\n");
        for note in stack.get("exc_notes").and_then(Value::as_array).into_iter().flatten() {
            self.push(note.as_str().unwrap_or_default());
            self.push("\n");
        }
        if depth < DEPTH_MAX {
            for group in stack.get("exceptions").and_then(Value::as_array).into_iter().flatten() {
                // A group's member is itself a list: the exception with its causes.
                if let Some(stacks) = group.as_array().or_else(|| group.get("stacks")?.as_array()) {
                    self.push("\n");
                    self.chain(stacks, depth + 1);
                }
            }
        }
    }

    fn frame(&mut self, frame: &Value) {
        self.push("  File \"");
        self.push(text(frame, "filename"));
        self.push("\"");
        if let Some(line) = frame.get("lineno").and_then(Value::as_i64) {
            self.push(&format!(", line {line}"));
        }
        let name = text(frame, "name");
        if !name.is_empty() {
            self.push(", in ");
            self.push(name);
        }
        self.push("\n");
        let code = text(frame, "line").trim();
        if !code.is_empty() {
            self.push("    ");
            self.push(code);
            self.push("\n");
        }
    }

    fn syntax_error(&mut self, error: &Value) {
        self.frame(&serde_json::json!({
            "filename": error.get("filename"), "lineno": error.get("lineno"), "line": error.get("line"),
        }));
    }

    fn push(&mut self, text: &str) {
        if self.full {
            return;
        }
        let room = TEXT_BYTES_MAX - self.text.len().min(TEXT_BYTES_MAX);
        if text.len() <= room {
            self.text.push_str(text);
            return;
        }
        self.full = true;
        let end = (0..=room).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        self.text.push_str(text.get(..end).unwrap_or_default());
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cause_comes_first_as_python_prints_it() {
        let value = json!([
            {"exc_type": "ValueError", "exc_value": "could not divide", "exc_notes": ["a note"], "is_cause": false,
             "frames": [{"filename": "/dags/t_fail.py", "lineno": 17, "name": "inner"}]},
            {"exc_type": "ZeroDivisionError", "exc_value": "division by zero", "is_cause": true, "frames": []},
        ]);
        assert_eq!(
            render(&value).unwrap(),
            "ZeroDivisionError: division by zero\n\n\
             The above exception was the direct cause of the following exception:\n\n\
             Traceback (most recent call last):\n  File \"/dags/t_fail.py\", line 17, in inner\n\
             ValueError: could not divide\na note"
        );
    }

    #[test]
    fn syntax_errors_and_groups() {
        let value = json!([{"exc_type": "ExceptionGroup", "exc_value": "2 failed", "syntax_error": {
                "filename": "/dags/x.py", "lineno": 2, "line": "def x(:\n"},
            "exceptions": [[{"exc_type": "KeyError", "exc_value": "'a'"}], [{"exc_type": "OSError", "exc_value": ""}]]}]);
        assert_eq!(
            render(&value).unwrap(),
            "  File \"/dags/x.py\", line 2\n    def x(:\nExceptionGroup: 2 failed\n\nKeyError: 'a'\n\nOSError"
        );
    }

    #[test]
    fn other_values_are_none_and_long_ones_are_bounded() {
        for other in [json!("text"), json!([]), json!([1]), json!({"exc_type": "X"})] {
            assert_eq!(render(&other), None);
        }
        let frame = json!({"filename": "ä".repeat(500), "lineno": 1, "name": "f"});
        let stack = json!({"exc_type": "X", "exc_value": "y", "frames": vec![frame; 500]});
        let text = render(&json!(vec![stack; 50])).unwrap();
        assert!(text.len() <= TEXT_BYTES_MAX + CUT_MARK.len() && text.ends_with(CUT_MARK));
    }
}
