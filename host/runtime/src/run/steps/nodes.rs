//! The nodes of a plan: their evaluation, and the first call that a node makes.

use std::collections::HashMap;
use std::sync::Arc;

use nebula_model::caching::CacheDirectives;
use nebula_model::id::{FunctionRef, Selector};
use nebula_model::request::Prefer;
use nebula_pipeline::{Conversion, Node, Value};
use wasmtime::component::Val;

use super::evaluation::{End, Evaluation};
use super::run::Scope;
use super::values::{case_of, input_of, key_text, request_of};
use crate::error::CallError;
use crate::peers::PeerCall;

/// Check for cancellation every this many items.
const CANCEL_CHECK_INTERVAL: usize = 256;

impl Evaluation {
    /// Evaluates a node with this value.
    pub(super) fn eval(self: &Arc<Self>, node: usize, value: Value, scope: &Scope) -> Result<Value, End> {
        match &self.staged.plan.nodes[node] {
            Node::Call(call) => self.call(*call, value, scope),
            Node::Sequence(nodes) => {
                nodes.iter().try_fold(value, |value, node| self.eval(*node, value, scope))
            }
            Node::All(nodes) => {
                let work = nodes.iter().map(|node| (*node, value.clone()));
                self.fan_out(work, scope).map(|values| Value::Parts(Arc::new(values)))
            }
            Node::Each(node) => {
                self.check_room_for(value.part_count())?;
                let work = value.into_parts().into_iter().map(|item| (*node, item));
                self.fan_out(work, scope).map(|values| Value::Parts(Arc::new(values)))
            }
            Node::Group { items, by, each } => self.group(items, by, *each, value, scope),
            Node::Choice(branches) => {
                let (name, payload) = case_of(value.into_val());
                let payload = payload.map_or(Value::Nothing, |payload| (*payload).into());
                match branches.iter().find(|branch| branch.case == name) {
                    Some(branch) => Ok(branch.output.apply(self.eval(branch.node, payload, scope)?)),
                    None => Err(End::Own(CallError::Internal(format!("there is no case `{name}`")))),
                }
            }
            Node::Select(path) => Ok(value.select(path)),
            Node::Constant(val) => Ok(val.as_ref().map_or(Value::Nothing, |val| Value::Val(Arc::clone(val)))),
        }
    }

    /// Groups the items of a value by their key and evaluates `each` with every group, in the order
    /// in which the keys first occur.
    fn group(
        self: &Arc<Self>,
        items: &Conversion,
        by: &[usize],
        each: usize,
        value: Value,
        scope: &Scope,
    ) -> Result<Value, End> {
        self.check_room_for(value.part_count())?;
        let mut groups: Vec<(Value, Vec<Val>)> = Vec::new();
        let mut known = HashMap::new();
        for (index, item) in value.into_parts().into_iter().enumerate() {
            if index % CANCEL_CHECK_INTERVAL == 0 {
                self.check(scope)?;
            }
            let item = items.apply(item);
            let key = item.select(by);
            let at = *known.entry(key_text(&key.clone().into_val())).or_insert(groups.len());
            match groups.get_mut(at) {
                Some((_, items)) => items.push(item.into_val()),
                None => groups.push((key, vec![item.into_val()])),
            }
        }
        let (keys, work): (Vec<_>, Vec<_>) =
            groups.into_iter().map(|(key, items)| (key, (each, Val::List(items).into()))).unzip();
        let values = self.fan_out(work.into_iter(), scope)?;
        let pair = |(key, value)| Value::Parts(Arc::new(vec![key, value]));
        Ok(Value::Parts(Arc::new(keys.into_iter().zip(values).map(pair).collect())))
    }

    /// Returns the first call that a node makes with this value, if its result may be shared.
    pub(super) fn first_call(&self, node: usize, value: &Value) -> Option<PeerCall> {
        let call = match &self.staged.plan.nodes[node] {
            Node::Call(call) => *call,
            Node::Sequence(nodes) => return self.first_call(*nodes.first()?, value),
            Node::All(_)
            | Node::Each(_)
            | Node::Group { .. }
            | Node::Choice(_)
            | Node::Select(_)
            | Node::Constant(_) => return None,
        };
        let (planned, function) = (&self.staged.plan.calls[call], &self.staged.steps[call].function);
        let CacheDirectives { no_cache, no_store } = self.run.directives;
        if !function.caches() || !function.history().is_long() || no_cache || no_store {
            return None;
        }
        let input = input_of(&planned.step.input, value.clone());
        let (results, raw) = (self.run.runtime.results(), planned.callee.output.flat().is_some());
        if results.cache().get(&function.key().of(&input, raw), function.record.cache.ttl()).is_some() {
            return None;
        }
        let selector = Selector::Version(function.record.version);
        Some(PeerCall {
            function: FunctionRef { name: function.record.name.clone(), selector },
            key: *function.key(),
            request: request_of(&input, &planned.callee),
            prefer: if raw { Prefer::Raw } else { Prefer::Json },
            directives: self.run.directives,
        })
    }
}
