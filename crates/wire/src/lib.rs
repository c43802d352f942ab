//! JSON of the public HTTP API and of webhook bodies, and conversions to and from the model.
