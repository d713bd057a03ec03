//! What the core decides, seen from outside. One binary: it is linked once, which is what most of the
//! time goes into when the tests are run for hundreds of mutants.

mod allowances;
mod choices;
mod explain;
mod forecasts;
mod gates;
mod limits;
mod money;
mod properties;
mod standing;
mod stories;
mod support;
mod values;
