//! Answers what it sees outside the sandbox: clocks, arguments, environment, stdin and files.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            record sight {
                wall-seconds: u64,
                wall-again-seconds: u64,
                monotonic-ns: u64,
                arguments: u32,
                variables: u32,
                stdin-bytes: u32,
                preopened: u32,
                file: string,
                directory: string,
            }
            export handle: func(ignored: string) -> sight;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(_ignored: String) -> Sight {
        let mut stdin = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut stdin).unwrap();
        Sight {
            wall_seconds: wasip2::clocks::wall_clock::now().seconds,
            wall_again_seconds: wasip2::clocks::wall_clock::now().seconds,
            monotonic_ns: wasip2::clocks::monotonic_clock::now(),
            arguments: wasip2::cli::environment::get_arguments().len() as u32,
            variables: std::env::vars().count() as u32,
            stdin_bytes: stdin.len() as u32,
            preopened: wasip2::filesystem::preopens::get_directories().len() as u32,
            file: outcome(std::fs::read("/etc/passwd").map(|_| ())),
            directory: outcome(std::fs::read_dir("/").map(|_| ())),
        }
    }
}

fn outcome(result: std::io::Result<()>) -> String {
    if result.is_ok() { "read".to_owned() } else { "denied".to_owned() }
}
