use std::collections::HashMap;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Configured, ConfigError> {
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    OtlpConfig::from_environment(|name| variables.get(name).map(|value| (*value).to_owned()))
}

/// Reads variables that ask for an export and have nothing wrong.
fn config(variables: &[(&str, &str)]) -> OtlpConfig {
    let Configured { config, warnings } = read(variables).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    config.unwrap()
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");

#[test]
fn nothing_is_exported_unless_the_environment_asks_for_it() {
    let off: [&[(&str, &str)]; 8] = [
        &[],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
        &[("OTEL_SERVICE_NAME", "a"), ("OTEL_TRACES_SAMPLER", "always_on")],
        &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
        &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
        &[ENDPOINT, ("OTEL_TRACES_SAMPLER", "always_off")],
        // Nothing is checked that isn't used.
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "wrong"), ("OTEL_TRACES_EXPORTER", "none")],
    ];
    for variables in off {
        assert!(read(variables).unwrap().config.is_none(), "{variables:?}");
    }
    for on in
        [ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/x"), ("OTEL_TRACES_EXPORTER", "otlp")]
    {
        config(&[on]);
    }
    config(&[ENDPOINT, ("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
}

#[test]
fn endpoints_are_completed_as_the_specification_says() {
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
    let method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    type Case<'a> = (&'a [(&'a str, &'a str)], String, &'a str, u16);
    let cases: [Case<'_>; 12] = [
        (&[("OTEL_TRACES_EXPORTER", "otlp")], "http://localhost:4318/v1/traces".into(), "localhost", 4318),
        (
            &[("OTEL_TRACES_EXPORTER", "otlp"), GRPC],
            format!("http://localhost:4317{method}"),
            "localhost",
            4317,
        ),
        (&[(all, "http://a:1")], "http://a:1/v1/traces".into(), "a", 1),
        (&[(all, "http://a:1/")], "http://a:1/v1/traces".into(), "a", 1),
        (&[(all, "http://a:1/x/")], "http://a:1/x/v1/traces".into(), "a", 1),
        (&[(all, "http://[::1]:1")], "http://[::1]:1/v1/traces".into(), "::1", 1),
        (&[(traces, "http://a")], "http://a/".into(), "a", 80),
        (&[(traces, "http://a/x?key=1"), (all, "http://b")], "http://a/x?key=1".into(), "a", 80),
        (&[(all, "http://a:1/x"), GRPC], format!("http://a:1{method}"), "a", 1),
        (&[(all, "https://a"), of_traces], format!("https://a{method}"), "a", 443),
        (
            &[(all, "a:1"), GRPC, ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            format!("http://a:1{method}"),
            "a",
            1,
        ),
        (&[(all, "a:1"), of_traces], format!("https://a:1{method}"), "a", 1),
    ];
    for (variables, uri, host, port) in cases {
        let endpoint = config(variables).endpoint;
        assert_eq!((endpoint.uri.to_string(), endpoint.host.as_str(), endpoint.port), (uri, host, port));
        assert_eq!(endpoint.is_secure, endpoint.uri.scheme_str() == Some("https"));
    }
}

#[test]
fn endpoints_that_cannot_be_used_are_errors() {
    for wrong in
        ["collector", "collector:4318", "ftp://a", "http://", "http://a:99999", "http://u:p@a", "a b"]
    {
        for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
            let error = read(&[(variable, wrong)]).unwrap_err();
            assert!(
                matches!(error, ConfigError::Endpoint { variable: named, .. } if named == variable),
                "{error}"
            );
        }
    }
}

#[test]
fn headers_are_read_and_never_shown() {
    let all = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=top%20secret,tenant=a");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "tenant=b");
    let config = config(&[ENDPOINT, all, traces]);
    assert_eq!(config.headers["api-key"], "top secret");
    assert_eq!(config.headers["tenant"], "b");
    assert!(!format!("{config:?}").contains("secret"));
    for wrong in ["secret", "a=1,secret", "se cret=1", "a=secret%0a"] {
        let error = read(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", wrong)]).unwrap_err();
        assert!(
            matches!(error, ConfigError::Headers { .. }) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn samplers_are_read() {
    let share = |share| RootSampler::Share(SampledShare::new(share).unwrap());
    for (name, argument, root, follows_parent) in [
        ("", "", RootSampler::Always, true),
        ("always_on", "", RootSampler::Always, false),
        ("parentbased_always_on", "0.5", RootSampler::Always, true),
        ("parentbased_always_off", "", RootSampler::Never, true),
        ("traceidratio", "0.25", share(0.25), false),
        ("traceidratio", "", RootSampler::Always, false),
        ("parentbased_traceidratio", "0", share(0.0), true),
        ("parentbased_traceidratio", "1", share(1.0), true),
    ] {
        let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        assert_eq!(config(&variables).sampler, Sampler { root, follows_parent }, "{name} {argument}");
    }
}

/// Every variable with a value that isn't valid is named in a warning, and its default is used.
#[test]
fn values_that_are_not_known_are_reported_and_ignored() {
    let cases = [
        ("OTEL_TRACES_EXPORTER", "otlp,zipkin"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "quic"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "1.5"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "x"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "x"),
    ];
    let default = format!("{:?}", comparable(config(&[ENDPOINT])));
    for (variable, value) in cases {
        let Configured { config, warnings } = read(&[ENDPOINT, (variable, value)]).unwrap();
        assert_eq!(format!("{:?}", comparable(config.unwrap())), default, "{variable}");
        assert!(
            matches!(&warnings[..], [warning] if warning.contains(&format!("`{variable}`"))),
            "{warnings:?}"
        );
    }
    for share in ["2", "-1", "half", "NaN"] {
        let sampler = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let read = read(&[ENDPOINT, sampler, ("OTEL_TRACES_SAMPLER_ARG", share)]).unwrap();
        assert_eq!(read.config.unwrap().sampler.root, RootSampler::Always);
        assert!(matches!(&read.warnings[..], [warning] if warning.contains("_ARG")), "{share}");
    }
    let read = read(&[ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b")]).unwrap();
    assert!(!read.config.unwrap().resource.iter().any(|(key, _)| key == "a"));
    assert!(read.warnings[0].contains("OTEL_RESOURCE_ATTRIBUTES"));
}

/// Removes the id of the instance, which differs each time.
fn comparable(mut config: OtlpConfig) -> OtlpConfig {
    config.resource.retain(|(key, _)| key != "service.instance.id");
    config
}

#[test]
fn limits_and_the_resource_are_read() {
    let config = config(&[
        ENDPOINT,
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "200"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "7"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "5"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "6"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=b,deployment.environment=test%2C1"),
        ("OTEL_SERVICE_NAME", "a"),
    ]);
    assert_eq!(config.queue, QueueLimits { spans_max: 100, batch_max: 100, delay: Duration::ZERO });
    assert_eq!((config.timeout, config.export_timeout), (Duration::from_millis(6), Duration::from_millis(7)));
    assert_eq!(config.limits, SpanLimits { attributes_max: 3, text_chars_max: Some(4) });
    assert!(config.compresses);
    let value = |key: &str| {
        let mut values = config.resource.iter().filter(|(other, _)| other == key);
        (values.next().map(|(_, value)| value.as_str()), values.next())
    };
    assert_eq!(value("service.name"), (Some("a"), None));
    assert_eq!(value("deployment.environment"), (Some("test,1"), None));
    let id = value("service.instance.id").0.unwrap();
    assert!(id.len() == 36 && id.as_bytes()[14] == b'4', "{id}");
}

#[test]
fn certificates_that_cannot_be_used_are_errors() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a");
    let variable = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    for path in ["/nonexistent/ca.pem", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
        let error = read(&[endpoint, (variable, path)]).unwrap_err();
        assert!(matches!(&error, ConfigError::File { variable: named, .. } if *named == variable), "{error}");
        // Without TLS the file isn't read.
        config(&[ENDPOINT, (variable, path)]);
    }
}
