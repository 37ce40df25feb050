//! The request to a function of the http form.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use nebula_model::trailers;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::{Error, WasiHttpView};

use super::Sandbox;

impl Sandbox {
    /// Passes `request` to the guest's `incoming-handler` as resources.
    ///
    /// # Errors
    /// Fails when the request has no authority.
    pub fn incoming_request(
        &mut self,
        request: http::Request<Bytes>,
    ) -> Result<(Resource<HostIncomingRequest>, Resource<HostResponseOutparam>)> {
        let receiver = self.response.receiver();
        self.response.set_method(request.method());
        let trailers = trailers::of(request.extensions()).cloned();
        let with_trailers = |body| Full::new(body).with_trailers(std::future::ready(trailers.map(Ok)));
        let request = request.map(with_trailers);
        let mut view = self.http();
        let request = view.new_incoming_request(
            Scheme::Http,
            request.map(|body| body.map_err(|never| -> Error { match never {} })),
        )?;
        let out = view.new_response_outparam_from_callback(receiver)?;
        Ok((request, out))
    }
}
