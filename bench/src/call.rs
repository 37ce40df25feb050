//! One call in this process, fresh instance, nothing remembered.
//!
//! Includes: decode, instance, guest, encode. Excludes: HTTP, routing, compile, load.
//! Guest: `functions/echo`, 36 B in and out, so the host dominates.
//! No peer: the floor that the rows of `throughput` stand on. Reports p50 and p99 over n calls, and how
//! much of a call is making the instance.

use std::time::Instant;

use anyhow::bail;
use bytes::Bytes;
use clap::Args as ClapArgs;
use nebula_runtime::id::{FunctionName, FunctionRef, Selector};
use nebula_runtime::limits::{HostLimits, LimitOverrides, Limits};
use nebula_runtime::{Answer, Codegen, Compiler, Prefer, Request, Runtime, RuntimeConfig, Shard};

use crate::cores::{self, Cores};
use crate::prepare::{self, BODY};
use crate::stats::Latency;

/// Calls before the first that counts.
const WARM_UP_CALLS: u32 = 1_000;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How many calls are measured
    #[arg(long, default_value = "50000")]
    calls: std::num::NonZeroU32,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        !cfg!(debug_assertions),
        "an unoptimised build measures nothing: run it with `--release`"
    );
    let [echo] = prepare::functions(["echo"])?;
    let cores = Cores::available()?;
    let data_dir = tempfile::tempdir()?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: data_dir.path().to_owned(),
        compiler: Compiler::InProcess(Codegen::Optimised),
        limits: Limits::default(),
        host_limits: HostLimits::default(),
        serving_threads: 1,
    })?;
    let name: FunctionName = "echo".parse()?;
    let component = Bytes::from(std::fs::read(&echo)?);
    executor.block_on(runtime.deploy(name.clone(), component, LimitOverrides::default()))?;
    let shard = Shard::new(runtime)?;
    let function = shard.find(&FunctionRef { name, selector: Selector::Current })?;
    // The calls run on this thread; the clock of their deadlines keeps the other cores.
    cores::pin(&cores.server[..1])?;

    let (mut whole, mut starts) = (Vec::new(), Vec::new());
    for call in 0..WARM_UP_CALLS + args.calls.get() {
        let request = Request::Payload { media_type: None, body: Bytes::from_static(BODY) };
        let begun = Instant::now();
        let called = executor.block_on(shard.call(&function, request, Prefer::AsSent));
        let took = begun.elapsed();
        match called.result {
            Ok(Answer::Value(content)) if content.body == BODY => {}
            result => bail!("wrong answer: {result:?}"),
        }
        if call >= WARM_UP_CALLS {
            let ns = |duration: std::time::Duration| u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX);
            whole.push(ns(took));
            starts.push(ns(called.cost.start));
        }
    }
    println!("One call in process, {} B, fresh instance, n = {}, one core.\n", BODY.len(), args.calls);
    println!("| | p50, µs | p99, µs |\n|---|--:|--:|");
    for (name, samples) in [("whole call", whole), ("of it, making the instance", starts)] {
        let latency = Latency::of(samples);
        println!("| {name} | {:.1} | {:.1} |", latency.p50_us, latency.p99_us);
    }
    Ok(())
}
