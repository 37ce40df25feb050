//! Answers its configuration as it sees it: in the environment and in `wasi:config/store`.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            import wasi:config/store@0.2.0-rc.1;
            record view {
                variable: option<string>,
                variables: list<tuple<string, string>>,
                value: option<string>,
                values: list<tuple<string, string>>,
            }
            export handle: func(key: string) -> view;
        }
        package wasi:config@0.2.0-rc.1 {
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
        }
    ",
    generate_all,
});

use wasi::config::store;

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(key: String) -> View {
        View {
            variable: std::env::var(&key).ok(),
            variables: std::env::vars().collect(),
            value: store::get(&key).unwrap(),
            values: store::get_all().unwrap(),
        }
    }
}
