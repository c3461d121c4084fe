"""The hunt of notebook 07: kernels with a defect each, of which the symptom is told; whether an answer is right."""
