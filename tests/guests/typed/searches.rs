//! Takes a record whose fields fit a query string.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            enum order { newest, oldest-first }
            record search {
                text: string,
                limit: u32,
                exact: bool,
                above: option<f64>,
                order: order,
                tags: list<string>,
            }
            export handle: func(search: search) -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(search: Search) -> String {
        let Search { text, limit, exact, above, order, tags } = search;
        format!("{text} {limit} {exact} {above:?} {order:?} {tags:?}")
    }
}
