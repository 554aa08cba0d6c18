import JSON

/// How the weights of a Hugging Face checkpoint are stored in fewer bits: the `quantization_config` of
/// `config.json`.
///
/// Source: transformers, `utils/quantization_config.py`; compressed-tensors, `quant_scheme.py`.
enum WeightQuantization: Equatable {
  /// Weights are floats.
  case none
  /// E4M3 with a scale for each block of a matrix, in `NAME_scale_inv`. DeepSeek-V3, Qwen3.
  case float8Blocks(rows: Int, columns: Int)
  /// E4M3 with a scale for each row, or one for the matrix, in `NAME_scale`.
  case float8Rows
  /// Experts in blocks of MXFP4 (``StoredExperts``), all else in floats. gpt-oss.
  case mxfp4Experts

  /// What is behind a weight's name in the name of its scales.
  var scaleSuffix: String? {
    switch self {
    case .none, .mxfp4Experts: nil
    case .float8Blocks: "_scale_inv"
    case .float8Rows: "_scale"
    }
  }

  /// - Throws: `.invalidField` that names a method that is not read.
  init(_ configuration: FieldReader) throws(CheckpointError) {
    guard let fields = try configuration.object("quantization_config") else {
      self = .none
      return
    }
    let field = "quant_method"
    switch try fields.required(field, try fields.string(field)) {
    case "fp8":
      let sizes = try fields.numbers("weight_block_size", in: 1...1e6) ?? [128, 128]
      guard sizes.count == 2 else {
        throw fields.failure(
          "weight_block_size", "has \(sizes.count) numbers: it should have rows and columns")
      }
      self = .float8Blocks(rows: Int(sizes[0]), columns: Int(sizes[1]))
    case "compressed-tensors":
      let format = try fields.string("format") ?? ""
      guard format == "float-quantized" else {
        throw fields.failure(
          "format",
          "is \(quoted(format)): known is float-quantized: download a checkpoint in it, "
            + "in BF16, or as a GGUF file")
      }
      self = .float8Rows
    case "mxfp4":
      let modelType = try configuration.string("model_type") ?? ""
      guard ConfigurationClass.of(modelType).hasStoredExperts else {
        throw fields.failure(
          field,
          "is \"mxfp4\" in a model of type \(quoted(modelType)): known is gpt_oss: download the model "
            + "in BF16 or as a GGUF file")
      }
      self = .mxfp4Experts
    case let method:
      throw fields.failure(
        field,
        "is \(quoted(method)): known are fp8, compressed-tensors with fp8, and mxfp4 of gpt_oss: "
          + "download the model in BF16 or as a GGUF file")
    }
  }

  /// The scales of a matrix, from the tensor that holds them.
  ///
  /// - Throws: `.misshapenTensor` where it has no scale for each block, `.malformedTensor` for a scale that
  ///   is not finite.
  func scales(
    _ stored: TensorView, of matrix: TensorView
  ) throws(CheckpointError) -> TensorView.Scales {
    let (outputs, inputs) = (matrix.shape[0], matrix.shape[1])
    var (rows, columns) = (1, inputs)
    if case .float8Blocks(let blockRows, let blockColumns) = self {
      (rows, columns) = (blockRows, blockColumns)
    } else if stored.count == 1 {
      rows = outputs
    }
    let expected = [(outputs + rows - 1) / rows, (inputs + columns - 1) / columns]
    guard
      stored.shape == expected || stored.count == 1 && expected == [1, 1]
        || expected[1] == 1 && stored.shape == [expected[0]]
    else {
      throw .misshapenTensor(
        file: stored.file, name: stored.name, expected: expected, found: stored.shape)
    }
    let values = stored.floats()
    guard values.allSatisfy(\.isFinite) else {
      throw .malformedTensor(
        file: stored.file, tensor: stored.name, problem: "holds a scale that is not finite")
    }
    return .init(values: values, rows: rows, columns: columns)
  }
}
