//! The layers, and what is said about what does not fit.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_file(text: &str) -> Result<Loaded, Vec<Problem>> {
    let file = Some((Path::new("skill.toml"), text));
    load(&Inputs { file, ..Inputs::default() })
}

fn with_environment(variables: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    load(&Inputs { environment: &environment(variables), ..Inputs::default() })
}

fn told(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_defaults_are_complete_and_all_of_them_are_defaults() {
    let loaded = load(&Inputs::default()).unwrap();
    assert_eq!(loaded.config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.limits.timeout_s.get(), 30);
    assert_eq!(loaded.config.plans["free"].per_minute, Some(30));
    assert_eq!(loaded.config.tiers["premium"], 1000);
    assert!(loaded.shown.values().all(|(_, origin)| *origin == Origin::Default));
}

#[test]
fn every_setting_that_is_commented_out_is_one() {
    // A comment that is a setting reads as one once its hash is gone.
    let is_setting = |line: &str| {
        let name = line.split_once(" = ").map(|(name, _)| name);
        line.starts_with('[')
            || name.is_some_and(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let mut text = String::new();
    for line in DEFAULTS.lines() {
        let bare = line.strip_prefix("# ").filter(|bare| is_setting(bare)).unwrap_or(line);
        text.push_str(bare);
        text.push('\n');
    }
    let loaded = with_file(&text);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{:?}", told(&problems)));
    assert_eq!(loaded.config.integrations.by_slug["github"].scopes.as_deref().unwrap(), ["repo"]);
    assert!(loaded.config.seal.command.is_some() && loaded.config.public_url.is_some());
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_defaults() {
    let text = "listen = \"127.0.0.1:1\"\nhistory_days = 7\n[limits]\ntimeout_s = 5\n";
    let loaded = load(&Inputs {
        file: Some((Path::new("skill.toml"), text)),
        environment: &environment(&[("SKILL_LISTEN", "127.0.0.1:2"), ("SKILL_HISTORY_DAYS", "8")]),
        flags: &[("listen", "--listen", "127.0.0.1:3".to_owned())],
    })
    .unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    let origin = |name: &str| loaded.shown[name].1.to_string();
    assert_eq!(origin("listen"), "flag --listen");
    assert_eq!(origin("history_days"), "environment SKILL_HISTORY_DAYS");
    assert_eq!(origin("limits.timeout_s"), "file skill.toml:4");
    assert_eq!(origin("limits.body_bytes"), "default");
}

#[test]
fn every_wrong_setting_of_a_file_is_named_with_its_line() {
    let text = "lsten = \"x\"\nhistory_days = 0\n[limits]\nbody_bytes = \"many\"\n\
                [integrations.github]\nclient = \"x\"\n";
    let problems = told(&with_file(text).unwrap_err());
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(problems[0].starts_with("skill.toml:2: `history_days`: invalid value"), "{problems:?}");
    let has = |start: &str| problems.iter().any(|problem| problem.starts_with(start));
    assert!(has("skill.toml:1: `lsten`: unknown field `lsten`"), "{problems:?}");
    assert!(has("skill.toml:4: `limits.body_bytes`: invalid type"), "{problems:?}");
    assert!(has("skill.toml:6: `integrations.github.client`: unknown field"), "{problems:?}");
}

#[test]
fn text_that_is_no_toml_is_named_with_its_line_and_not_repeated() {
    let problems =
        told(&with_file("listen = \"127.0.0.1:1\"\nadmin_secret = hunter2\n").unwrap_err());
    assert!(problems[0].starts_with("skill.toml:2: "), "{problems:?}");
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn variables_name_settings_with_one_underscore_or_two() {
    let loaded = with_environment(&[
        ("SKILL_LIMITS__BODY_BYTES", "7"),
        ("SKILL_LOG_LEVEL", "debug"),
        ("SKILL_SEAL_KEY", "1:abc"),
        ("SKILL_PUBLIC_URL", "https://skill.example.com"),
        ("SKILL_EGRESS__ALLOW", "127.0.0.1:1, [::1]:2"),
        ("SKILL_MIRROR_STATUS", "true"),
        ("SKILL_PLANS__FREE__PER_DAY", "9"),
        ("SKILL_CONNECT_RETURN_URLS", "https://a.example/x"),
    ])
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.limits.body_bytes.get(), 7);
    assert!(config.seal.key.is_some() && config.mirror_status);
    assert_eq!(config.egress.allow.len(), 2);
    assert_eq!(config.plans["free"].per_day, Some(9));
    assert_eq!(config.plans["free"].per_minute, Some(30));
    assert_eq!(config.connect.return_urls, ["https://a.example/x"]);
}

#[test]
fn variables_give_the_oauth_client_of_an_integration() {
    let loaded = with_environment(&[
        ("SKILL_GITHUB_CLIENT_ID", "Iv1.1"),
        ("SKILL_GITHUB_CLIENT_SECRET", "hunter2"),
        ("SKILL_MY_CRM_CLIENT_SECRET_FILE", "/run/crm"),
    ])
    .unwrap();
    let github = &loaded.config.integrations.by_slug["github"];
    assert_eq!(github.client_id.as_deref(), Some("Iv1.1"));
    assert!(github.client_secret.is_some());
    assert!(loaded.config.integrations.by_slug["my-crm"].client_secret_file.is_some());
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert_eq!(loaded.shown["integrations.github.client_secret"].0, Value::from("(set)"));
}

#[test]
fn a_variable_that_names_no_setting_is_told_and_a_wrong_value_refused() {
    let loaded = with_environment(&[("SKILL_LISTNE", "x"), ("SKILL_KEY", "sk_x")]).unwrap();
    assert_eq!(loaded.ignored, ["SKILL_LISTNE"]);
    let problems = told(&with_environment(&[("SKILL_LISTEN", "nowhere")]).unwrap_err());
    assert!(problems[0].starts_with("environment SKILL_LISTEN: `listen`: "), "{problems:?}");
}

#[test]
fn a_wrong_secret_is_not_repeated() {
    let problems = told(&with_file("[integrations.github]\nclient_secret = 12345\n").unwrap_err());
    assert!(problems[0].starts_with("skill.toml:2: "), "{problems:?}");
    assert!(!problems[0].contains("12345"), "{problems:?}");
}

#[test]
fn the_data_directory_is_where_the_user_keeps_data() {
    let data = |variables| with_environment(variables).unwrap().config.data;
    assert_eq!(data(&[("HOME", "/h")]), Path::new("/h/.local/share/skill"));
    assert_eq!(data(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]), Path::new("/x/skill"));
    assert_eq!(data(&[("HOME", "/h"), ("XDG_DATA_HOME", "x")]), Path::new("/h/.local/share/skill"));
    assert_eq!(data(&[("HOME", "/h"), ("SKILL_DATA", "/d")]), Path::new("/d"));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let problems = told(&with_file("default_plan = \"gold\"\n").unwrap_err());
    assert_eq!(problems, ["skill.toml:1: `default_plan`: there is no table `plans.gold`"]);
    assert!(with_environment(&[("SKILL_LIMITS__TIMEOUT_S", "301")]).is_err());
}
