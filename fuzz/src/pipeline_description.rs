//! Descriptions of pipelines, which arrive as JSON on the control plane and as TOML in
//! `nebula.toml`.

use nebula_runtime::pipeline::Pipeline;

/// Panics if a parsed description doesn't survive serialization.
pub fn run(data: &[u8]) {
    if let Ok(pipeline) = serde_json::from_slice::<Pipeline>(data) {
        assert_round_trip(&pipeline);
    }
    if let Ok(pipeline) = toml::from_slice::<Pipeline>(data) {
        assert_round_trip(&pipeline);
    }
}

#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
fn assert_round_trip(pipeline: &Pipeline) {
    let written = serde_json::to_vec(pipeline).unwrap();
    assert_eq!(serde_json::from_slice::<Pipeline>(&written).unwrap(), *pipeline);
    // Walks every step, which must not panic.
    let _ = pipeline.steps.calls();
}
