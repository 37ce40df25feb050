//! `nebula verify-receipt`: checks the signature of a receipt, and that it names these bytes,
//! without a server.

use std::path::Path;

use anyhow::Context;
use nebula_runtime::id::Digest;
use nebula_runtime::receipt::{Receipt, Verifier};

use crate::args::VerifyReceipt;
use crate::input::Input;
use crate::receipt;
use crate::report::{hinted, json, line};

pub(crate) fn run(verify: &VerifyReceipt) -> anyhow::Result<()> {
    let verifier = verifier(&verify.key)?;
    let signed = receipt::read(&verify.receipt)?;
    let receipt = signed.verify(&verifier).context("this receipt can't be trusted")?;
    check_digest("input", verify.input.as_deref(), &receipt.input.digest)?;
    check_digest("output", verify.output.as_deref(), receipt.output.digest())?;
    if verify.json {
        return json(receipt);
    }
    line(format!("signed by {}", verifier.key_id()))?;
    print(receipt)
}

fn print(receipt: &Receipt) -> anyhow::Result<()> {
    line(format!("  function   {}", receipt.function))?;
    line(format!("  component  {}", receipt.component))?;
    if let Some(config) = &receipt.config {
        line(format!("  config     {config}"))?;
    }
    line(format!("  input      {} ({} bytes)", receipt.input.digest, receipt.input.bytes))?;
    line(format!("  output     {}", receipt.output.digest()))?;
    line(format!("  engine     {}", receipt.engine))?;
    line(format!("  issued at  {} (Unix time)", receipt.issued_at_unix_s))
}

fn verifier(path: &Path) -> anyhow::Result<Verifier> {
    let pem = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Verifier::from_pem(&pem).map_err(|error| {
        let hint = "`openssl pkey -in KEY -pubout` prints the public half of the signing key";
        hinted(format!("`{}`: {error}", path.display()), hint).into()
    })
}

/// Checks that the bytes given for the `what` of the call have the digest in the receipt.
fn check_digest(what: &str, given: Option<&str>, expected: &Digest) -> anyhow::Result<()> {
    let Some(given) = given else { return Ok(()) };
    let found = Digest::of(&Input::read(given, None)?.body);
    if found == *expected {
        return Ok(());
    }
    let hint = "every byte counts, including a line feed at the end";
    Err(hinted(format!("this {what} is {found}; the receipt names {expected}"), hint).into())
}
