//! The compatibility of artefacts with engines.

use std::hash::{Hash, Hasher};

use super::Engine;
use super::initialise::SNAPSHOT_VERSION;

impl Engine {
    /// Returns a hash of everything that an artefact must match to run on this engine.
    pub fn compatibility(&self) -> String {
        // A 64-bit FNV-1a hash of wasmtime's compatibility data. It isn't authentication: the
        // store's MAC does that.
        struct Fnv(u64);
        impl Hasher for Fnv {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        SNAPSHOT_VERSION.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }
}
