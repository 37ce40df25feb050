//! Calls a function without a server.
//!
//! ```console
//! $ cargo run -p nebula-runtime --example embed -- add.wasm '{"a":2,"b":3}'
//! 5
//! ```

use std::error::Error;
use std::io::Write;

use bytes::Bytes;
use nebula_runtime::id::{FunctionName, FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::{
    Answer, CacheDirectives, Codegen, Compiler, Followers, Prefer, Request, Runtime, RuntimeConfig, Settings,
    Shard,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(component), Some(input)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed COMPONENT INPUT, the input as JSON".into());
    };
    let component = Bytes::from(std::fs::read(component)?);

    // A host keeps this directory: it holds the components, their compiled code and cached results.
    let data_dir = tempfile::tempdir()?;
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: data_dir.path().to_owned(),
        // A host compiles in a child process, which can't take the host down with it.
        compiler: Compiler::InProcess(Codegen::Optimised),
        limits: Limits::default(),
        host_limits: HostLimits::default(),
        verify_share: 0.0,
        alarm: |disagreement| eprintln!("two computations disagree: {disagreement:?}"),
        signer: None,
    })?;

    // Each thread that calls functions has a shard and an event loop.
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let answer = executor.block_on(async {
        let name: FunctionName = "embedded".parse()?;
        runtime.deploy(name.clone(), component, Settings::default(), Followers::MustFit).await?;

        let shard = Shard::new(runtime.clone())?;
        let function = shard.find(&FunctionRef { name, selector: Selector::Current }).await?;
        // The media type defaults to JSON for a typed function.
        let request = Request::Payload { media_type: None, body: Bytes::from(input) };
        let outcome = shard.call(&function, request, Prefer::AsSent, CacheDirectives::default()).await;
        Ok::<_, Box<dyn Error>>(outcome.result?)
    })?;

    let mut stdout = std::io::stdout().lock();
    match answer {
        Answer::Value(content) => stdout.write_all(&content.body)?,
        Answer::Error(content) => {
            return Err(format!("the function failed: {}", String::from_utf8_lossy(&content.body)).into());
        }
        Answer::Http(_) => return Err("the function answers HTTP requests, not payloads".into()),
    }
    writeln!(stdout)?;
    Ok(())
}
