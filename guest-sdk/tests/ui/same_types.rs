#[nebula_sdk::function]
mod servers {
    pub struct HttpServer {
        pub port: u16,
    }

    pub struct HTTPServer {
        pub port: u16,
    }

    pub fn handle(from: HttpServer, to: HTTPServer) -> bool {
        from.port == to.port
    }
}

fn main() {}
