//! `wasi:config/store`: the function's configuration.
//!
//! `wasmtime-wasi-config` has the same interface, but lists the constants in the order of a hash map,
//! which differs from call to call. Here they have the order of their keys.

use super::Sandbox;

mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package wasi:config@0.2.0-rc.1;

            interface store {
                variant error {
                    upstream(string),
                    io(string),
                }

                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }

            world imports {
                import store;
            }
        ",
    });
}

pub(super) use bindings::wasi::config::store;

impl store::Host for Sandbox {
    fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        Ok(self.config.get(&key).map(str::to_owned))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        Ok(self.config.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}
