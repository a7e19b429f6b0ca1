//! Trace context and request ids, in and out, and the spans of the mesh.
