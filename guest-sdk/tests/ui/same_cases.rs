#[nebula_sdk::function]
mod servers {
    pub enum Kind {
        HttpServer,
        HTTPServer,
    }

    pub fn handle(kind: Kind) -> bool {
        matches!(kind, Kind::HttpServer)
    }
}

fn main() {}
