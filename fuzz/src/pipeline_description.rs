//! Descriptions of pipelines: JSON over the control plane, TOML in `nebula.toml`.

use nebula_runtime::pipeline::Pipeline;

/// A description that is read can be written, and reads back as the same.
pub fn run(data: &[u8]) {
    if let Ok(pipeline) = serde_json::from_slice::<Pipeline>(data) {
        reads_back(&pipeline);
    }
    if let Ok(pipeline) = toml::from_slice::<Pipeline>(data) {
        reads_back(&pipeline);
    }
}

#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
fn reads_back(pipeline: &Pipeline) {
    let written = serde_json::to_vec(pipeline).unwrap();
    assert_eq!(serde_json::from_slice::<Pipeline>(&written).unwrap(), *pipeline);
    // Every step is walked.
    let _ = pipeline.steps.calls();
}
