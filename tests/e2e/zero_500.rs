//! "Zero 500s": a 500 is a bug in Nebula, so no request, deploy or sequence of bytes may cause one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use nebula_tests::{Nebula, WAIT_MAX, guests};

/// A fixed sequence of pseudo-random numbers (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns a body made of fragments of JSON and noise.
    fn body(&mut self) -> Vec<u8> {
        const PIECES: [&[u8]; 24] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\"a\"",
            b"\"b\"",
            b"1",
            b"-0",
            b"1e999",
            b"null",
            b"true",
            b"\"\\ud83e\"",
            b"\"\\u0000\"",
            b"\xff\xfe",
            b"\"circle\"",
            b"\"shapes\"",
            b"9223372036854775808",
            b"\"NaN\"",
            b"{}",
            b"[]",
            b" ",
            b"{\"some\":null}",
        ];
        let pieces = self.below(30);
        (0..pieces).flat_map(|_| self.pick(&PIECES).to_vec()).collect()
    }
}

fn server() -> Nebula {
    let nebula = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("mirrors", guests::MIRRORS)
        .deploy("greets", guests::GREETS)
        .deploy("reverses", guests::REVERSES)
        .deploy("searches", guests::SEARCHES)
        .deploy("raw", guests::MIRRORS_PAYLOAD)
        .deploy("http", guests::MIRRORS_REQUEST)
        .deploy("breaks-off", guests::BREAKS_OFF)
        .deploy("panics", guests::PANICS)
        .deploy("exits", guests::EXITS)
        .deploy("overflows", guests::OVERFLOWS_STACK)
        .deploy("reaches-out", guests::REACHES_OUT);
    for (name, path) in [("loops", guests::LOOPS_FOREVER), ("eats", guests::EATS_MEMORY)] {
        nebula.put(&format!("{name}?deadline_ms=20"), &std::fs::read(path).unwrap()).is(200);
    }
    nebula
}

const PATHS: [&str; 24] = [
    "/f/adds",
    "/f/mirrors",
    "/f/greets",
    "/f/reverses",
    "/f/searches",
    "/f/raw",
    "/f/http",
    "/f/http/a/%00/../b",
    "/f/breaks-off",
    "/f/panics",
    "/f/exits",
    "/f/overflows",
    "/f/reaches-out",
    "/f/loops",
    "/f/eats",
    "/f/none",
    "/f/adds@v1",
    "/f/adds@v4294967295",
    "/f/adds@v99999999999999999999",
    "/f/%E2%82%AC",
    "/f/adds@sha256:zz",
    "/f//",
    "//",
    "/",
];
const QUERIES: [&str; 8] =
    ["", "?", "?a=1&b=2", "?a=%ff", "?name=x", "?=&=&&", "?a", "?text=x&limit=1&exact=true&order=newest"];
const MEDIA_TYPES: [&str; 8] = [
    "application/json",
    "text/plain",
    "application/octet-stream",
    "",
    "x",
    "*/*",
    "text/plain; charset=utf-16",
    "a/b; c=\"d",
];
const METHODS: [&str; 9] = ["POST", "GET", "HEAD", "QUERY", "OPTIONS", "PUT", "DELETE", "PATCH", "BREW"];

#[test]
fn no_request_causes_a_500() {
    let nebula = server();
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let nebula = &nebula;
            scope.spawn(move || {
                let mut numbers = Numbers(seed);
                for _ in 0..300 {
                    let path = format!("{}{}", numbers.pick(&PATHS), numbers.pick(&QUERIES));
                    let mut call = nebula.request(numbers.pick(&METHODS), &path);
                    call = call.header("content-type", numbers.pick(&MEDIA_TYPES));
                    call = call.header("accept", numbers.pick(&MEDIA_TYPES));
                    call = call.header("if-none-match", numbers.pick(&["*", "\"x\"", ",,", "W/"]));
                    let answer = call.body(numbers.body()).send();
                    assert_ne!(answer.status(), 500, "{answer:?}");
                    assert!(
                        answer.status() < 500 || [502, 503, 504].contains(&answer.status()),
                        "{answer:?}"
                    );
                }
            });
        }
    });
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
}

#[test]
fn no_damaged_component_causes_a_500() {
    let nebula = server();
    let mut numbers = Numbers(42);
    let component = std::fs::read(guests::COUNTS).unwrap();
    let mut refused = 0;
    for _ in 0..60 {
        let mut damaged = component.clone();
        match numbers.below(3) {
            0 => damaged.truncate(numbers.below(component.len())),
            1 => {
                let at = numbers.below(component.len());
                damaged[at] ^= 1 << numbers.below(8);
            }
            _ => {
                let (from, to) = (numbers.below(component.len()), numbers.below(component.len()));
                damaged.copy_within(from..(from + 64).min(component.len()), to.min(component.len() - 64));
            }
        }
        let answer = nebula.put("damaged", &damaged);
        assert!([200, 400, 422].contains(&answer.status()), "{answer:?}");
        refused += usize::from(answer.status() != 200);
        let called = nebula.post("/f/damaged", "");
        assert_ne!(called.status(), 500, "{called:?}");
    }
    assert!(refused > 30, "only {refused} of 60 were refused");
    for (method, path) in [
        ("POST", "/api/v1/functions/adds/rollback"),
        ("PUT", "/api/v1/functions/x?deadline_ms=99999999999999999999"),
        ("PUT", "/api/v1/functions/x?=&&=1"),
        ("DELETE", "/api/v1/functions/%00"),
        ("GET", "/api/v1/functions/..%2F..%2Fetc/component"),
    ] {
        for _ in 0..10 {
            let answer = nebula.control(method, path).body(numbers.body()).send();
            assert!(answer.status() < 500, "{answer:?}");
        }
    }
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
}

#[test]
fn no_sequence_of_bytes_causes_a_500() {
    const PIECES: [&str; 20] = [
        "POST ",
        "GET ",
        "/f/greets",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "host: a\r\n",
        "\r\n",
        "\r\n\r\n",
        "content-length: 3\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\0",
        "connection: upgrade\r\nupgrade: h2c\r\n",
        "expect: 100-continue\r\n",
        "abc",
    ];
    let nebula = server();
    let mut numbers = Numbers(7);
    for round in 0..300 {
        let address = if round % 4 == 0 { nebula.control_address() } else { nebula.calls_address() };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        let mut sent = String::new();
        if numbers.below(2) == 0 {
            sent.push_str("POST /f/greets HTTP/1.1\r\nhost: a\r\n");
        }
        for _ in 0..numbers.below(10) {
            sent.push_str(numbers.pick(&PIECES));
        }
        // The server may close the connection early.
        let _ = stream.write_all(sent.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("HTTP/1.1 500"), "{sent:?} -> {answer}");
    }
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
}
