"""Networks of other projects in, our networks out: backbones, whole models, student.pth, ONNX."""
