//! The host's functions for tests, backed by [`crate::testing`].

use crate::testing::{self, RegisteredModel};
use crate::{NnError, NnErrorCode, RawTensor, Tensors};

pub(crate) fn progress(done: u64, total: u64, note: &str) {
    testing::record_progress(done, total, note);
}

pub(crate) fn emit(chunk: &[u8]) {
    testing::record_emit(chunk);
}

pub(crate) fn args() -> Vec<String> {
    testing::current_args()
}

pub(crate) struct Graph(RegisteredModel);

impl Graph {
    pub(crate) fn load_by_name(name: &str) -> Result<Self, NnError> {
        testing::registered_model(name).map(Self).ok_or_else(|| {
            NnError::new(
                NnErrorCode::NotFound,
                format!("no model is registered with `testing::model({name:?}, ...)`"),
            )
        })
    }

    pub(crate) fn init_execution_context(&self) -> Result<Context, NnError> {
        Ok(Context(self.0.clone()))
    }
}

pub(crate) struct Context(RegisteredModel);

impl Context {
    pub(crate) fn compute(
        &self,
        inputs: Vec<(String, RawTensor)>,
    ) -> Result<Vec<(String, HostTensor)>, NnError> {
        let inputs = inputs
            .into_iter()
            .map(|(name, tensor)| (name, HostTensor(tensor)))
            .collect();
        self.0
            .call(&Tensors::from_entries(inputs))
            .map(Tensors::into_entries)
    }
}

pub(crate) struct HostTensor(RawTensor);

impl HostTensor {
    pub(crate) fn from_raw(raw: RawTensor) -> Self {
        Self(raw)
    }

    pub(crate) fn to_raw(&self) -> Result<RawTensor, NnError> {
        Ok(self.0.clone())
    }
}
