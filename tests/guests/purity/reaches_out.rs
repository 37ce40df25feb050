//! Tries every way to reach the network and answers the outcome of each.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            record attempts {
                tcp: string,
                listen: string,
                udp: string,
                dns: string,
                http: string,
            }
            export handle: func() -> attempts;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle() -> Attempts {
        use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

        Attempts {
            tcp: outcome(TcpStream::connect("127.0.0.1:80")),
            listen: outcome(TcpListener::bind("127.0.0.1:0")),
            udp: outcome(
                UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", "127.0.0.1:53")),
            ),
            dns: outcome("localhost:80".to_socket_addrs()),
            http: outgoing(),
        }
    }
}

fn outcome<T>(result: std::io::Result<T>) -> String {
    if result.is_ok() { "reached".to_owned() } else { "denied".to_owned() }
}

fn outgoing() -> String {
    use wasip2::http::outgoing_handler;
    use wasip2::http::types::{Fields, OutgoingRequest};

    let request = OutgoingRequest::new(Fields::new());
    request.set_authority(Some("127.0.0.1")).unwrap();
    match outgoing_handler::handle(request, None) {
        Ok(_) => "reached".to_owned(),
        Err(code) => format!("{code:?}"),
    }
}
