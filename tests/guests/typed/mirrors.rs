//! Returns its input: a record with every kind of WIT value.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            enum colour { red, deep-green, blue }
            flags rights { read, write, execute-all }
            variant shape {
                point,
                circle(f64),
                polygon(list<tuple<f32, f32>>),
                labelled(label),
            }
            record label { text: string, initial: char }
            record everything {
                yes: bool,
                tiny: s8,
                small: s16,
                medium: s32,
                large: s64,
                tiny-unsigned: u8,
                small-unsigned: u16,
                medium-unsigned: u32,
                large-unsigned: u64,
                single: f32,
                double: f64,
                letter: char,
                text: string,
                bytes: list<u8>,
                colour: colour,
                rights: rights,
                shapes: list<shape>,
                maybe: option<u32>,
                nested-maybe: option<option<string>>,
                outcome: result<u32, string>,
                bare-outcome: result,
                pair: tuple<string, list<list<u16>>>,
            }
            export handle: func(all: everything) -> everything;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(all: Everything) -> Everything {
        all
    }
}
