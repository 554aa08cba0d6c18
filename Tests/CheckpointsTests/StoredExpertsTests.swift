import Checkpoints
import JSON
import StoredNumbers
import Testing

/// Experts in the layouts of gpt-oss, as the rest of the program knows experts.
@Suite struct StoredExpertsTests {
  private let stem = "model.layers.0.mlp.experts."

  private func checkpoint(
    _ tensors: [SafetensorsWriter.Tensor], quantization: String = "null",
    modelType: String = "\"gpt_oss\""
  ) throws -> (Checkpoint, TemporaryDirectory) {
    let directory = try TemporaryDirectory()
    try directory.write(
      configurationText([
        "model_type": modelType, "quantization_config": quantization,
        "num_key_value_heads": "4",
      ]),
      to: "config.json")
    try directory.write(tensors, to: "model.safetensors")
    return (try Checkpoint(directory: directory.path), directory)
  }

  @Test(
    "Gates and ups lie in turn, matrices transposed",
    arguments: [ElementType.float32, .bfloat16])
  func floats(type: ElementType) throws {
    // Two experts of three inputs and two gates and ups: element (e, i, o) is 100 e + 10 i + o.
    let (experts, inputs, outputs) = (2, 3, 4)
    let values = (0..<experts * inputs * outputs).map { index in
      Float(index / (inputs * outputs) * 100 + index / outputs % inputs * 10 + index % outputs)
    }
    let (checkpoint, _) = try checkpoint([
      .init(
        name: stem + "gate_up_proj", shape: [experts, inputs, outputs], floats: values, as: type),
      .init(
        name: stem + "gate_up_proj_bias", shape: [experts, outputs],
        floats: [0, 1, 2, 3, 10, 11, 12, 13], as: type),
      .init(
        name: stem + "down_proj", shape: [1, 2, 3], floats: [0, 1, 2, 10, 11, 12], as: type),
    ])
    let gate = try checkpoint.tensor(named: stem + "gate_proj.weight")
    #expect(gate.format == .dense(type))
    #expect(gate.shape == [2, 2, 3])
    #expect(gate.floats() == [0, 10, 20, 2, 12, 22, 100, 110, 120, 102, 112, 122])
    let up = try checkpoint.tensor(named: stem + "up_proj.weight")
    #expect(up.floats() == [1, 11, 21, 3, 13, 23, 101, 111, 121, 103, 113, 123])
    #expect(try checkpoint.tensor(named: stem + "gate_proj.bias").floats() == [0, 2, 10, 12])
    #expect(try checkpoint.tensor(named: stem + "up_proj.bias").floats() == [1, 3, 11, 13])
    let down = try checkpoint.tensor(named: stem + "down_proj.weight")
    #expect(down.shape == [1, 3, 2])
    #expect(down.floats() == [0, 10, 1, 11, 2, 12])
    #expect(checkpoint.contains(stem + "up_proj.bias"))
    #expect(!checkpoint.contains(stem + "down_proj.bias"))
  }

  /// Random blocks of [experts, outputs, blocks], a scale each.
  private func blocks(_ shape: [Int]) -> (bytes: [UInt8], scales: [UInt8]) {
    var state: UInt32 = 7
    func next() -> UInt8 {
      state = state &* 1_664_525 &+ 1_013_904_223
      return UInt8(state >> 24)
    }
    let count = shape.reduce(1, *)
    return ((0..<count * 16).map { _ in next() }, (0..<count).map { _ in 100 + next() % 60 })
  }

  @Test("Blocks of MXFP4 keep their numbers and their 4.25 bits")
  func mxfp4() throws {
    let shape = [2, 6, 3]
    let (bytes, scales) = blocks(shape)
    let (checkpoint, _) = try checkpoint(
      [
        .init(
          name: stem + "gate_up_proj_blocks", storedType: "U8", shape: shape + [16], bytes: bytes),
        .init(name: stem + "gate_up_proj_scales", storedType: "U8", shape: shape, bytes: scales),
      ], quantization: #"{"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}"#)
    // As transformers defines it: byte b holds the elements 2 b, in its low half, and 2 b + 1.
    let numbers: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
    func row(_ expert: Int, _ output: Int) -> [Float] {
      (0..<shape[2] * 32).map { element in
        let block = (expert * shape[1] + output) * shape[2] + element / 32
        let byte = bytes[block * 16 + element % 32 / 2]
        let scale = Float(sign: .plus, exponent: Int(scales[block]) - 127, significand: 1)
        return numbers[Int(element % 2 == 0 ? byte & 15 : byte >> 4)] * scale
      }
    }
    for (name, first) in [("gate_proj", 0), ("up_proj", 1)] {
      let tensor = try checkpoint.tensor(named: stem + name + ".weight")
      #expect(tensor.format == .blocks(.mxfp4))
      #expect(tensor.shape == [2, 3, 96])
      #expect(tensor.byteCount == 2 * 3 * 3 * 17)
      let expected = (0..<2).flatMap { expert in
        (0..<3).flatMap { row(expert, 2 * $0 + first) }
      }
      #expect(tensor.floats() == expected)
      #expect(tensor.firstNonFiniteIndex() == nil)
    }
  }

  @Test("Blocks without scales, or of another shape, are refused by name")
  func refusesMisfits() throws {
    let (bytes, scales) = blocks([2, 6, 3])
    let stored = SafetensorsWriter.Tensor(
      name: stem + "gate_up_proj_blocks", storedType: "U8", shape: [2, 6, 3, 16], bytes: bytes)
    for tensors in [
      [stored],
      [
        stored,
        .init(
          name: stem + "gate_up_proj_scales", storedType: "U8", shape: [2, 3, 6], bytes: scales),
      ],
      [
        .init(
          name: stem + "gate_up_proj_blocks", storedType: "U8", shape: [4, 3, 3, 16], bytes: bytes),
        .init(
          name: stem + "gate_up_proj_scales", storedType: "U8", shape: [4, 3, 3], bytes: scales),
      ],
    ] {
      let (checkpoint, _) = try checkpoint(tensors)
      let error = failure { () throws(CheckpointError) in
        try checkpoint.tensor(named: stem + "gate_proj.weight")
      }
      #expect(isOneLine(error, naming: stem + "gate_up_proj_blocks"))
    }
    let (none, _) = try checkpoint([stored])
    let error = failure { () throws(CheckpointError) in
      try none.tensor(named: stem + "down_proj.weight")
    }
    #expect(isOneLine(error, naming: stem + "down_proj.weight"))
  }

  @Test("MXFP4 in a model of another type is refused by name")
  func refusesOtherTypes() throws {
    let error = failure { () throws(CheckpointError) -> Checkpoint in
      do {
        return try checkpoint(
          [], quantization: #"{"quant_method": "mxfp4"}"#, modelType: "\"qwen3\""
        ).0
      } catch let error as CheckpointError {
        throw error
      } catch {
        Issue.record(error)
        throw .notFound(path: "")
      }
    }
    #expect(isOneLine(error, naming: "quant_method", "qwen3", "gpt_oss"))
  }

  @Test("Fields that a file leaves out are those of the class")
  func defaults() throws {
    let configuration = try ModelConfiguration(
      json: JSONValue(
        parsing: Array(
          """
          {"model_type": "gpt_oss", "hidden_size": 64, "intermediate_size": 48,
           "num_hidden_layers": 2, "num_attention_heads": 16, "vocab_size": 10,
           "max_position_embeddings": 4096, "num_local_experts": 8, "num_experts_per_tok": 2,
           "swiglu_limit": 5.5}
          """.utf8)), file: "config.json")
    #expect(configuration.headDimension == 64)
    #expect(configuration.numKeyValueHeads == 8)
    #expect(configuration.slidingWindow == 128)
    #expect(configuration.ropeTheta == 150_000)
    #expect(
      configuration.ropeScaling
        == .yarn(.init(factor: 32, originalMaxPositionEmbeddings: 4096, truncate: false)))
    let experts = try #require(configuration.experts)
    #expect(experts.count == 8 && experts.perToken == 2 && experts.intermediateSize == 48)
    #expect(experts.activationLimit == 5.5 && experts.activationAlpha == nil)
    #expect(configuration.notices.isEmpty)
  }
}
