import Checkpoints
import Testing

/// Weights of eight bits with their scales, as Hugging Face's checkpoints have them.
@Suite struct WeightQuantizationTests {
  private let name = "model.layers.0.mlp.up_proj.weight"

  /// A checkpoint with one matrix of 3 rows and 4 columns: 1, 2, 4 and -0.5 in each row.
  private func checkpoint(
    _ configuration: String, _ scales: SafetensorsWriter.Tensor?
  ) throws -> (Checkpoint, TemporaryDirectory) {
    let directory = try TemporaryDirectory()
    try directory.write(
      configurationText(["quantization_config": configuration]), to: "config.json")
    let row: [UInt8] = [0x38, 0x40, 0x48, 0xB0]
    var tensors = [
      SafetensorsWriter.Tensor(
        name: name, storedType: "F8_E4M3", shape: [3, 4], bytes: row + row + row)
    ]
    if let scales { tensors.append(scales) }
    try directory.write(tensors, to: "model.safetensors")
    return (try Checkpoint(directory: directory.path), directory)
  }

  @Test("Blocks of a matrix have a scale each, cut off at its edges")
  func readsBlocks() throws {
    let (checkpoint, _) = try checkpoint(
      #"{"quant_method": "fp8", "weight_block_size": [2, 3], "activation_scheme": "dynamic"}"#,
      .init(name: name + "_scale_inv", shape: [2, 2], floats: [1, 10, 100, 1000]))
    let tensor = try checkpoint.tensor(named: name)
    #expect(tensor.format == .float8)
    #expect(tensor.floats() == [1, 2, 4, -5, 1, 2, 4, -5, 100, 200, 400, -500])
    #expect(tensor.widened().floats() == tensor.floats())
    #expect(tensor.widened().format == .dense(.bfloat16))
    #expect(tensor.firstNonFiniteIndex() == nil)
    #expect(checkpoint.notices.isEmpty)
  }

  @Test("Rows have a scale each, or the matrix has one")
  func readsRows() throws {
    let configuration = #"{"quant_method": "compressed-tensors", "format": "float-quantized"}"#
    let (rows, _) = try checkpoint(
      configuration,
      .init(name: name + "_scale", shape: [3, 1], floats: [1, 2, 4], as: .bfloat16))
    #expect(
      try rows.tensor(named: name).floats() == [1, 2, 4, -0.5, 2, 4, 8, -1, 4, 8, 16, -2])
    let (whole, _) = try checkpoint(
      configuration, .init(name: name + "_scale", shape: [1], floats: [2]))
    #expect(try whole.tensor(named: name).floats().prefix(5) == [2, 4, 8, -1, 2])
  }

  @Test("Scales that are missing, misshapen or not finite are refused by name")
  func refusesMisfits() throws {
    let configuration = #"{"quant_method": "fp8", "weight_block_size": [2, 3]}"#
    for scales: SafetensorsWriter.Tensor? in [
      nil, .init(name: name + "_scale_inv", shape: [2, 1], floats: [1, 1]),
      .init(name: name + "_scale_inv", shape: [2, 2], floats: [1, 1, .nan, 1]),
    ] {
      let (checkpoint, _) = try checkpoint(configuration, scales)
      let error = failure { () throws(CheckpointError) in try checkpoint.tensor(named: name) }
      #expect(isOneLine(error, naming: name + "_scale_inv"))
    }
    let (none, _) = try checkpoint("null", nil)
    let error = failure { () throws(CheckpointError) in try none.tensor(named: name) }
    #expect(isOneLine(error, naming: name, "F8_E4M3"))
  }

  @Test("Other methods are refused by name")
  func refusesOtherMethods() throws {
    for (configuration, part) in [
      (#"{"quant_method": "gptq", "bits": 4}"#, "gptq"),
      (#"{"quant_method": "awq"}"#, "awq"),
      (#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#, "bitsandbytes"),
      (#"{"quant_method": "compressed-tensors", "format": "pack-quantized"}"#, "pack-quantized"),
      (#"{"quant_method": "fp8", "weight_block_size": [128]}"#, "weight_block_size"),
    ] {
      let error = failure { () throws(CheckpointError) -> Checkpoint in
        do {
          return try checkpoint(configuration, nil).0
        } catch let error as CheckpointError {
          throw error
        } catch {
          throw .notFound(path: "")
        }
      }
      #expect(isOneLine(error, naming: "config.json", "quantization_config", part))
    }
  }
}
