//! The settings of a function, as arguments of the commands that deploy or run it.

use std::num::NonZeroU64;

use clap::{Args as ClapArgs, ValueEnum};
use nebula_runtime::limits::{LimitOverrides, MIB};
use nebula_runtime::size::parse_bytes;
use nebula_runtime::{
    Caching, ConfigEntry, Configuration, Cors, CorsOrigin, RouteHost, RoutePath, Settings, SettingsBase,
    SettingsUpdate,
};

/// A function's own limits.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct LimitArgs {
    /// Wall-clock time of a call, milliseconds
    #[arg(long)]
    pub(crate) deadline_ms: Option<NonZeroU64>,
    /// Linear memory of an instance: bytes, or a size such as `64M`
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub(crate) memory_bytes_max: Option<u64>,
    /// The input, bytes
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub(crate) input_bytes_max: Option<u64>,
    /// The output, bytes
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub(crate) output_bytes_max: Option<u64>,
    /// The part of a call's stdout and stderr that is kept, bytes
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    pub(crate) log_bytes_max: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn overrides(&self) -> LimitOverrides {
        LimitOverrides {
            memory_bytes_max: self.memory_bytes_max,
            deadline_ms: self.deadline_ms,
            input_bytes_max: self.input_bytes_max,
            output_bytes_max: self.output_bytes_max,
            log_bytes_max: self.log_bytes_max,
        }
    }

    /// Returns whether a limit was given.
    pub(crate) fn any(&self) -> bool {
        self.overrides() != LimitOverrides::default()
    }
}

/// Caching of a function's results.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct CacheArgs {
    /// Cache the function's results
    #[arg(long, value_enum, alias = "remember")]
    pub(crate) cache: Option<Switch>,
    /// Time for which a result is used, seconds; by default until it is evicted
    #[arg(long, alias = "remember-ttl-s")]
    pub(crate) cache_ttl_s: Option<NonZeroU64>,
    #[arg(long, alias = "remember-bytes-max", value_parser = parse_bytes, value_name = "SIZE",
        help = cache_bytes_max_help())]
    pub(crate) cache_bytes_max: Option<u64>,
    /// Also cache failures: traps, limits reached, invalid answers
    #[arg(long, alias = "remember-traps")]
    pub(crate) cache_traps: bool,
}

impl CacheArgs {
    fn settings(&self) -> Caching {
        Caching {
            off: self.cache == Some(Switch::Off),
            ttl_s: self.cache_ttl_s,
            bytes_max: self.cache_bytes_max,
            traps: self.cache_traps,
        }
    }
}

/// A function's configuration.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct ConfigArgs {
    /// A constant that the function reads as an environment variable and through
    /// `wasi:config/store`; may be repeated. Not for secrets: a version can be read
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) config: Vec<ConfigEntry>,
}

impl ConfigArgs {
    pub(crate) fn configuration(&self) -> Configuration {
        self.config.iter().cloned().collect()
    }
}

/// The environment of a project.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct EnvironmentArgs {
    /// The environment whose settings (`[env.NAME]` in `nebula.toml`) are laid over the others
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Option<String>,
}

/// The pages of other origins that may call a function.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct CorsArgs {
    /// An origin whose pages may call the function, or `*`; may be repeated. By default the server's
    /// `--cors-origin`
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<CorsOrigin>,
    /// Time for which browsers cache that permission, seconds
    #[arg(long, requires = "cors_origin")]
    pub(crate) cors_max_age_s: Option<u32>,
}

impl CorsArgs {
    fn settings(&self) -> Option<Cors> {
        let cors = || Cors { origins: self.cors_origin.clone(), max_age_s: self.cors_max_age_s };
        (!self.cors_origin.is_empty()).then(cors)
    }
}

/// The paths and hosts under which a function answers.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct RouteArgs {
    /// A path under which the function answers beside `/f/NAME`: `/api/items`, or `/api/...` for it and
    /// everything below; may be repeated
    #[arg(long, value_name = "PATH")]
    pub(crate) route: Vec<RoutePath>,
    /// A host of these paths, such as `api.example.org` or `*.example.org`; may be repeated. By default
    /// every host
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<RouteHost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// A change of a function's settings.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct SettingsArgs {
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) cache: CacheArgs,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) cors: CorsArgs,
    #[command(flatten)]
    pub(crate) routes: RouteArgs,
    /// Reset the settings that aren't given, instead of keeping those of the version before
    #[arg(long)]
    pub(crate) reset_settings: bool,
}

impl SettingsArgs {
    /// Returns the change. `cache` may be switched on again, so it is part of the change
    /// whenever it is given.
    pub(crate) fn update(&self) -> SettingsUpdate {
        let base = if self.reset_settings { SettingsBase::Defaults } else { SettingsBase::Current };
        let settings = Settings {
            limits: self.limits.overrides(),
            cache: self.cache.settings(),
            config: self.config.configuration(),
            cors: self.cors.settings(),
            routes: self.routes.route.clone(),
            hosts: self.routes.host.clone(),
        };
        let update = SettingsUpdate::new(base, &settings);
        match self.cache.cache {
            Some(Switch::On) => update.with_caching(),
            Some(Switch::Off) | None => update,
        }
    }

    /// Returns whether a setting was given.
    pub(crate) fn any(&self) -> bool {
        self.reset_settings || self.update() != Self::default().update()
    }
}

/// Returns the help of `--cache-bytes-max`, with the default of a function that doesn't set it.
fn cache_bytes_max_help() -> String {
    let mib = Caching::default().answer_bytes_max() / MIB;
    format!("The largest answer that is cached, bytes; by default {mib} MiB")
}

/// Parses a share.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share is a number from 0 to 1".to_owned()),
    }
}
