//! Texts in, names of rules or mistakes out.

use super::super::tests::{read, refuses};

#[test]
fn redaction_is_on_with_all_rules_and_takes_more() {
    let names = |text: &str| {
        let redactor = read(text, &[]).unwrap().redaction;
        redactor.map(|redactor| redactor.names().map(str::to_owned).collect::<Vec<_>>())
    };
    let all = names("").unwrap();
    assert!(all.iter().any(|name| name == "jwt") && all.len() > 20, "{all:?}");
    assert_eq!(names("[redaction]\nenabled = false\n"), None);
    let text = "[redaction]\ndisabled_rules = [\"jwt\"]\n[[redaction.rules]]\nname = \"customer\"\n\
                pattern = 'customer (?P<secret>\\d+)'\ntenants = [\"team-a\"]\n";
    let some = names(text).unwrap();
    assert_eq!((some.len(), some.last().map(String::as_str)), (all.len(), Some("customer")));
    assert!(!some.iter().any(|name| name == "jwt"));
    let shown = read(text, &[]).unwrap().to_toml();
    let again = names(&shown).unwrap();
    assert_eq!(again, some, "{shown}");
}

#[test]
fn rules_of_redaction_that_cannot_be_are_refused_by_field() {
    let rule = |rest: &str| format!("[[redaction.rules]]\nname = \"mine\"\n{rest}");
    let check = |text: &str, expected: &str| refuses(text, &format!("invalid configuration: {expected}"));
    check(&rule(""), "redaction.rules[0].pattern: is missing");
    check(
        &rule("pattern = \"(\"\n"),
        "redaction.rules[0].pattern: invalid pattern \"(\": error: unclosed group",
    );
    check(
        &rule("pattern = \"x*\"\n"),
        "redaction.rules[0].pattern: invalid pattern \"x*\": it matches the empty text, or nothing at all",
    );
    check(
        &rule("pattern = 'x{1000}{1000}'\n"),
        "redaction.rules[0].pattern: invalid pattern \"x{1000}{1000}\": it is too large: use fewer or smaller \
         repetitions",
    );
    check(
        &rule("pattern = \"x\"\ntenants = []\n"),
        "redaction.rules[0].tenants: is empty: name tenants, or leave it out for all",
    );
    let other = rule("pattern = \"x\"\n");
    check(&format!("{other}{other}"), "redaction.rules[1].name: another rule is called \"mine\"");
    check(
        "[[redaction.rules]]\nname = \"My rule\"\npattern = \"x\"\n",
        "redaction.rules[0].name: invalid redaction rule name \"My rule\": 1 to 40 of a-z, 0-9 and '-'",
    );
    let unknown = read("[redaction]\ndisabled_rules = [\"jvt\"]\n", &[]).unwrap_err();
    let begin =
        "invalid configuration: redaction.disabled_rules: \"jvt\" is not the name of a default rule: aws-";
    assert!(unknown.starts_with(begin), "{unknown}");
    check("[redaction]\nenable = false\n", "FILE:2: unknown key `redaction.enable`: did you mean `enabled`?");
}
