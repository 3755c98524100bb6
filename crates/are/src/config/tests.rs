use super::*;

struct Scene {
    dir: tempfile::TempDir,
    surroundings: Surroundings,
}

impl Scene {
    fn new(variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut env: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        env.insert("HOME".to_owned(), dir.path().display().to_string());
        let surroundings = Surroundings { env, directory: dir.path().to_owned() };
        Self { dir, surroundings }
    }

    fn file(self, text: &str) -> Self {
        let path = self.dir.path().join(".config/are");
        std::fs::create_dir_all(&path).expect("mkdir");
        std::fs::write(path.join("are.toml"), text).expect("write");
        self
    }

    fn load(&self, flags: &Flags) -> Result<Config, Fault> {
        Config::load(&self.surroundings, flags)
    }

    fn config(&self) -> Config {
        self.load(&Flags::default()).unwrap_or_else(|fault| panic!("{fault}"))
    }

    fn refusal(&self) -> Fault {
        match self.load(&Flags::default()) {
            Err(fault) => fault,
            Ok(_) => panic!("the settings are accepted"),
        }
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let default = Scene::new(&[]).config();
    assert_eq!((default.bind.value.to_string().as_str(), default.bind.origin), ("localhost:8888", Origin::Default));

    let scene = Scene::new(&[("ARE_BIND", "127.0.0.1:2")]).file("bind = \"127.0.0.1:1\"");
    let config = scene.config();
    assert_eq!(config.bind.value.to_string(), "127.0.0.1:2");
    assert_eq!(config.bind.origin.to_string(), "environment ARE_BIND");

    let config = scene.load(&Flags { port: Some(3), ..Flags::default() }).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((config.bind.value.to_string().as_str(), config.bind.origin), ("localhost:3", Origin::Flag("--port")));

    let config = Scene::new(&[]).file("bind = \"127.0.0.1:1\"").config();
    assert_eq!(config.bind.value.to_string(), "127.0.0.1:1");
    assert!(config.bind.origin.to_string().ends_with("are.toml"));
}

#[test]
fn old_names_are_accepted_and_the_new_one_wins() {
    let config = Scene::new(&[("OPENCLAW_TZ", "Asia/Tokyo"), ("TZ", "UTC")]).config();
    assert_eq!(config.tz.value, "Asia/Tokyo");
    let config = Scene::new(&[("ARE_TZ", "Europe/Berlin"), ("OPENCLAW_TZ", "Asia/Tokyo")]).config();
    assert_eq!(config.tz.value, "Europe/Berlin");
    let config = Scene::new(&[("OPENCLAW_LOCAL_LLM", "true")]).config();
    assert_eq!(config.local_llm.map(|local| local.value.wish).as_deref(), Some("small"));
}

#[test]
fn a_time_zone_that_is_none_is_refused_but_what_tz_says_otherwise_is_left_to_the_system() {
    assert_eq!(Scene::new(&[("ARE_TZ", "Mars/Base")]).refusal().code, Code::CONFIG_INVALID);
    let config = Scene::new(&[("TZ", ":/etc/localtime")]).config();
    assert_eq!(config.tz.origin, Origin::Default);
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn unknown_variables_only_warn() {
    let config = Scene::new(&[("ARE_POLCY", "ask")]).config();
    assert_eq!(config.warnings, ["the variable `ARE_POLCY` is unknown and ignored; did you mean `ARE_POLICY`?"]);
}

#[test]
fn a_named_configuration_file_must_exist() {
    let scene = Scene::new(&[("ARE_CONFIG", "missing.toml")]);
    assert_eq!(scene.refusal().code, Code::CONFIG_UNREADABLE);
}

#[test]
fn zero_trust_off_is_the_profile_observe_and_conflicts_with_any_other() {
    let observe = |scene: &Scene| scene.config().policy.value.is_observe();
    assert!(observe(&Scene::new(&[("ARE_ZERO_TRUST", "false")])));
    assert!(observe(&Scene::new(&[("OPENCLAW_ZERO_TRUST", "false"), ("ARE_POLICY", "observe")])));
    assert!(!observe(&Scene::new(&[])));
    for policy in ["strict", "ask"] {
        let scene = Scene::new(&[("ARE_ZERO_TRUST", "false"), ("ARE_POLICY", policy)]);
        assert_eq!(scene.refusal().code, Code::CONFIG_CONFLICT);
    }
    let scene = Scene::new(&[("ARE_ZERO_TRUST", "true"), ("ARE_POLICY", "observe")]);
    assert_eq!(scene.refusal().code, Code::CONFIG_CONFLICT);
}

#[test]
fn a_policy_is_a_profile_or_a_directory_that_exists() {
    assert_eq!(Scene::new(&[("ARE_POLICY", "strct")]).refusal().help, "did you mean `strict`?");
    let scene = Scene::new(&[("ARE_POLICY", "rules")]);
    std::fs::create_dir(scene.dir.path().join("rules")).expect("mkdir");
    assert_eq!(scene.config().policy.value, PolicyChoice::Directory(scene.dir.path().join("rules")));
}

#[test]
fn no_auth_is_for_loopback_only() {
    assert!(Scene::new(&[("ARE_NO_AUTH", "true")]).config().no_auth.value);
    let scene = Scene::new(&[("ARE_NO_AUTH", "true"), ("ARE_BIND", "0.0.0.0:8888")]);
    assert_eq!(scene.refusal().code, Code::CONFIG_CONFLICT);
}

#[test]
fn addresses_are_read_in_every_usual_form_and_nothing_else() {
    for (text, shown) in [
        ("localhost", "localhost:8888"),
        ("localhost:1", "localhost:1"),
        (":1", "localhost:1"),
        ("1", "localhost:1"),
        ("0.0.0.0", "0.0.0.0:8888"),
        ("[::]:1", "[::]:1"),
        ("::1", "[::1]:8888"),
    ] {
        assert_eq!(Scene::new(&[("ARE_BIND", text)]).config().bind.value.to_string(), shown, "{text}");
    }
    for text in ["example.org:80", "localhost:99999", "localhost:x", "1.2.3.4:5:6"] {
        assert_eq!(Scene::new(&[("ARE_BIND", text)]).refusal().code, Code::CONFIG_INVALID, "{text}");
    }
}

#[test]
fn an_origin_is_exactly_what_a_browser_sends() {
    let config = Scene::new(&[("ARE_ORIGINS", "https://a.example, http://b.example:8080")]).config();
    assert_eq!(config.origins.value, ["https://a.example", "http://b.example:8080"]);
    for text in ["*", "null", "a.example", "https://a.example/", "https://a.example/x", "file:///x"] {
        assert_eq!(Scene::new(&[("ARE_ORIGINS", text)]).refusal().code, Code::CONFIG_INVALID, "{text}");
    }
}

#[test]
fn the_data_directory_and_the_workspace_may_not_overlap() {
    let scene = Scene::new(&[("ARE_WORKSPACE", "work"), ("ARE_DATA_DIR", "work/data")]);
    std::fs::create_dir_all(scene.dir.path().join("work/data")).expect("mkdir");
    assert_eq!(scene.refusal().code, Code::WORKSPACE_REFUSED);
}

#[test]
fn a_secret_comes_from_its_variable_or_the_named_file_and_is_never_shown() {
    let scene = Scene::new(&[("ARE_ADMIN_TOKEN_FILE", "token"), ("OPENAI_API_KEY", "sk-secret")]);
    std::fs::write(scene.dir.path().join("token"), "from-file\n").expect("write");
    let config = scene.config();
    assert_eq!(config.admin_token.as_ref().map(|token| token.value.expose()), Some("from-file"));
    let shown = serde_json::to_string(&config.shown).expect("encodes");
    assert!(!shown.contains("sk-secret") && !shown.contains("from-file"), "{shown}");
    assert!(
        shown.contains(r#"{"name":"openai_api_key","value":"(set)","origin":"environment OPENAI_API_KEY"}"#),
        "{shown}"
    );

    let both = Scene::new(&[("ARE_ADMIN_TOKEN_FILE", "token"), ("ARE_ADMIN_TOKEN", "x")]);
    assert_eq!(both.refusal().code, Code::CONFIG_CONFLICT);
}

#[test]
fn the_administrators_token_is_made_once_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("tempdir");
    let first = files::admin_token(dir.path(), || Ok(Secret::new("one"))).unwrap_or_else(|fault| panic!("{fault}"));
    let second = files::admin_token(dir.path(), || Ok(Secret::new("two"))).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!((first.expose(), second.expose()), ("one", "one"));
    let mode = std::fs::metadata(dir.path().join("admin.token")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn allow_is_lines_of_the_file_or_items_of_the_environment() {
    let file = "allow = [\"http_request https://a.example/x,y\", \"fs_write docs/*\"]";
    let config = Scene::new(&[]).file(file).config();
    assert_eq!(config.allow.value, ["http_request https://a.example/x,y", "fs_write docs/*"]);
    let config = Scene::new(&[("ARE_ALLOW", "fs_write a/*, fs_write b")]).file(file).config();
    assert_eq!(config.allow.value, ["fs_write a/*", "fs_write b"]);
    assert_eq!(config.allow.origin, Origin::Environment("ARE_ALLOW".to_owned()));
    for (file, lines) in [("", vec![]), ("allow = []", vec![]), ("allow = [\"\"]", vec![""])] {
        assert_eq!(Scene::new(&[]).file(file).config().allow.value, lines, "{file}");
    }
}

#[test]
fn a_collector_is_set_as_the_sdks_have_it_and_its_headers_are_a_secret() {
    assert!(
        Scene::new(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]).config().telemetry.is_none()
    );
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example:4318/otlp/");
    let scene = Scene::new(&[
        endpoint,
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-hush, x-tenant=a"),
        ("OTEL_SERVICE_NAME", "support"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb,deployment.environment.name=prod"),
    ]);
    let config = scene.config();
    let settings = config.telemetry.expect("it is set");
    assert_eq!(settings.endpoint.as_str(), "https://collector.example:4318/otlp/");
    assert_eq!(settings.service.as_deref(), Some("support"));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.attributes, [pair("team", "a,b"), pair("deployment.environment.name", "prod")]);
    assert_eq!(settings.secrets().collect::<Vec<_>>(), ["Bearer hush-hush", "a"]);
    let shown = serde_json::to_string(&config.shown).expect("encodes");
    assert!(shown.contains("OTEL_EXPORTER_OTLP_HEADERS") && !shown.contains("hush"), "{shown}");
    assert!(Scene::new(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]).config().telemetry.is_none());
    assert!(Scene::new(&[endpoint, ("OTEL_SDK_DISABLED", "1")]).config().telemetry.is_some(), "only `true` is true");
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector.example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:pass@collector.example"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example/?x=1"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=%ff"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hush-hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hush%0Ahush"),
    ] {
        // The last of two of a name counts.
        let refused = Scene::new(&[endpoint, (name, value)]).refusal();
        assert_eq!(refused.code, Code::CONFIG_INVALID, "{name}={value}");
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
}

#[test]
fn the_systems_zone_is_named_by_the_link_to_its_file() {
    let dir = tempfile::tempdir().expect("tempdir");
    let zone = |target: &str| {
        let link = dir.path().join("localtime");
        // silent-ok: it is not there the first time.
        std::fs::remove_file(&link).ok();
        std::os::unix::fs::symlink(target, &link).expect("symlink");
        files::linked_zone(&link)
    };
    let utc =
        Some("Etc/UTC".to_owned()).filter(|name| std::path::Path::new("/usr/share/zoneinfo").join(name).is_file());
    assert_eq!(zone("/usr/share/zoneinfo/Etc/UTC"), utc);
    assert_eq!(zone("../usr/share/zoneinfo/Etc/UTC"), utc);
    for other in ["posix/Etc/UTC", "right/Etc/UTC", "Nowhere/At_All", "../zoneinfo/Etc/UTC", "Etc"] {
        assert_eq!(zone(&format!("/usr/share/zoneinfo/{other}")), None, "{other} is left to the library");
    }
    assert_eq!(zone("/somewhere/zoneinfo/Etc/UTC"), None);
    std::fs::write(dir.path().join("copy"), "TZif").expect("write");
    assert_eq!(files::linked_zone(&dir.path().join("copy")), None, "a copy says nothing");
}
