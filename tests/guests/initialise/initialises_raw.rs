//! Answers any payload with a text that its initialiser made. The function has the raw form.

use std::sync::OnceLock;

wit_bindgen::generate!({ path: "../../wit", world: "nebula:function/function" });

mod once {
    wit_bindgen::generate!({
        inline: "
            package test:guest;
            world guest {
                export wizer-initialize: func();
            }
        "
    });

    use super::Function;

    export!(Function);
}

use exports::nebula::function::handler::{Error, Guest, Payload};

struct Function;
export!(Function);

static MADE: OnceLock<String> = OnceLock::new();

impl once::Guest for Function {
    fn wizer_initialize() {
        MADE.set("made at init".to_owned()).unwrap();
    }
}

impl Guest for Function {
    fn handle(request: Payload) -> Result<Payload, Error> {
        let made = MADE.get().ok_or_else(|| Error::Failed("the initialiser has not run".to_owned()))?;
        Ok(Payload { body: made.clone().into_bytes(), ..request })
    }
}
