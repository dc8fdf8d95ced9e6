//! Models, and the tensors that go in and come out.

use crate::sys::{Context, Graph, HostTensor};
use crate::{AsTensor, Element, NnError, NnErrorCode, RawTensor, Tensor};

/// A model that the run made available.
///
/// ```
/// use adit_sdk::{Model, Tensor, Tensors, testing};
///
/// testing::model("sum", |inputs| {
///     let sum = inputs.get::<i64>("values")?.data().iter().sum();
///     Ok(Tensors::new().with("sum", Tensor::<i64>::scalar(sum)))
/// });
///
/// let values = Tensor::<i64>::new(&[3], vec![1, 2, 39])?;
/// let outputs = Model::named("sum")?.run(&[("values", &values)])?;
/// assert_eq!(outputs.get::<i64>("sum")?.data(), [42]);
/// # Ok::<(), adit_sdk::NnError>(())
/// ```
pub struct Model {
    graph: Graph,
    name: String,
}

impl Model {
    /// The model that the run lists under `name` (`adit run --model NAME=FILE`).
    ///
    /// # Errors
    ///
    /// Not found, when the run lists no model of that name.
    pub fn named(name: &str) -> Result<Self, NnError> {
        let graph = Graph::load_by_name(name).map_err(|error| {
            let hint = match error.code {
                NnErrorCode::NotFound => {
                    format!("; hint: name one with `--model {name}=FILE`")
                }
                _ => String::new(),
            };
            let mut error = error.context(format_args!("load model `{name}`"));
            error.message.push_str(&hint);
            error
        })?;
        Ok(Self {
            graph,
            name: name.to_string(),
        })
    }

    /// Prepares the model for any number of inferences.
    ///
    /// # Errors
    ///
    /// What the host says, such as too large when it has no room for another session.
    pub fn session(&self) -> Result<Session, NnError> {
        let context = self
            .graph
            .init_execution_context()
            .map_err(|error| error.context(format_args!("prepare model `{}`", self.name)))?;
        Ok(Session {
            context,
            name: self.name.clone(),
        })
    }

    /// One inference in a session of its own. For several, keep a [`Model::session`].
    ///
    /// # Errors
    ///
    /// Those of [`Model::session`] and [`Session::run`].
    pub fn run(&self, inputs: &[(&str, &dyn AsTensor)]) -> Result<Tensors, NnError> {
        self.session()?.run(inputs)
    }
}

/// A model that is ready for inference.
pub struct Session {
    context: Context,
    name: String,
}

impl Session {
    /// One inference: named inputs in, named outputs out.
    ///
    /// A session keeps nothing between two calls. A model with a state takes it as an input and
    /// answers with the next one.
    ///
    /// # Errors
    ///
    /// Invalid argument, when names, shapes or element types are not those of the model, and
    /// whatever else the host says.
    pub fn run(&self, inputs: &[(&str, &dyn AsTensor)]) -> Result<Tensors, NnError> {
        let attempt = |error: NnError| error.context(format_args!("run model `{}`", self.name));
        let mut named = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let tensor = tensor
                .to_raw()
                .map_err(|error| attempt(error.context(format_args!("input `{name}`"))))?;
            named.push(((*name).to_string(), tensor));
        }
        let entries = self.context.compute(named).map_err(attempt)?;
        Ok(Tensors { entries })
    }
}

/// Tensors by name: what a model answered, or, in a test, what it was given.
#[derive(Default)]
pub struct Tensors {
    entries: Vec<(String, HostTensor)>,
}

impl Tensors {
    /// The tensor called `name`, with its elements as `T`. Its data is copied from the host now,
    /// so ask once.
    ///
    /// # Errors
    ///
    /// Not found, with the names there are, when there is none of that name; invalid argument
    /// when its elements are of another type.
    pub fn get<T: Element>(&self, name: &str) -> Result<Tensor<T>, NnError> {
        self.raw(name)?
            .typed()
            .map_err(|error| error.context(format_args!("tensor `{name}`")))
    }

    /// The tensor called `name`, whatever its type.
    ///
    /// # Errors
    ///
    /// Not found, with the names there are, when there is none of that name; runtime error when
    /// its data does not have the length that its shape asks for.
    pub fn raw(&self, name: &str) -> Result<RawTensor, NnError> {
        let tensor = self
            .entries
            .iter()
            .find_map(|(entry, tensor)| (entry == name).then_some(tensor));
        let tensor = tensor.ok_or_else(|| {
            NnError::new(
                NnErrorCode::NotFound,
                format!(
                    "no tensor is called `{name}`; there is {:?}",
                    self.names().collect::<Vec<_>>()
                ),
            )
        })?;
        tensor.to_raw().map_err(|error| {
            NnError::new(
                NnErrorCode::RuntimeError,
                format!("tensor `{name}`: {}", error.message),
            )
        })
    }

    /// The names, in the model's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Tensors {
    /// No tensors yet. In a test, the beginning of what a model answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// These and one more, called `name`.
    ///
    /// # Panics
    ///
    /// When `wasi:nn` cannot express the tensor: it is for tests.
    #[must_use]
    pub fn with(mut self, name: &str, tensor: impl AsTensor) -> Self {
        match tensor.to_raw() {
            Ok(raw) => self
                .entries
                .push((name.to_string(), HostTensor::from_raw(raw))),
            Err(error) => panic!("tensor `{name}`: {error}"),
        }
        self
    }

    pub(crate) fn from_entries(entries: Vec<(String, HostTensor)>) -> Self {
        Self { entries }
    }

    pub(crate) fn into_entries(self) -> Vec<(String, HostTensor)> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_session_carries_named_tensors_of_several_types_both_ways() {
        testing::model("scale", |inputs| {
            assert_eq!(inputs.names().collect::<Vec<_>>(), ["x", "by"]);
            let by = inputs.get::<i64>("by")?.data()[0] as f32;
            let x = inputs.get::<f32>("x")?;
            let scaled = x.data().iter().map(|value| value * by).collect();
            Ok(Tensors::new().with("y", Tensor::new(x.dims(), scaled)?))
        });
        let session = Model::named("scale").unwrap().session().unwrap();
        let x = Tensor::new(&[1, 2], vec![1.5_f32, -2.0]).unwrap();
        let by = Tensor::<i64>::scalar(3);
        let outputs = session.run(&[("x", &x), ("by", &by)]).unwrap();
        let y = outputs.get::<f32>("y").unwrap();
        assert_eq!((y.dims(), y.data()), (&[1, 2][..], &[4.5, -6.0][..]));

        let error = outputs.get::<f32>("z").unwrap_err();
        assert_eq!(error.code, NnErrorCode::NotFound);
        assert!(error.message.contains("[\"y\"]"), "{error}");
        let error = outputs.get::<u8>("y").unwrap_err();
        assert_eq!(error.code, NnErrorCode::InvalidArgument);
    }

    #[test]
    fn an_unknown_model_says_how_to_name_one() {
        let error = Model::named("magika").err().unwrap();
        assert_eq!(error.code, NnErrorCode::NotFound);
        assert!(error.message.contains("--model magika=FILE"), "{error}");
    }

    #[test]
    fn the_error_of_a_model_names_the_model() {
        testing::model("busy", |_| Err(NnError::new(NnErrorCode::Timeout, "5 s")));
        let error = Model::named("busy").unwrap().run(&[]).err().unwrap();
        assert_eq!(error.code, NnErrorCode::Timeout);
        assert_eq!(error.message, "run model `busy`: 5 s");
    }
}
