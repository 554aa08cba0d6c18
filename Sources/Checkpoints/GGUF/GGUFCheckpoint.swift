import Files
import JSON

/// A model in a GGUF file, or in several that belong together, mapped.
///
/// Names are those of Hugging Face's checkpoints, and rows of q and k have their order; all else stays
/// as it is stored. All headers are checked when it is opened; the data are read when they are used.
public final class GGUFCheckpoint: WeightSource {
  public let path: String
  public let configuration: ModelConfiguration
  public let generation: GenerationConfiguration
  private let architecture: GGUFArchitecture
  private let files: [GGUFFile]
  /// For each tensor name the file that holds it and its name there.
  private let locations: [String: (file: Int, name: String)]

  /// Opens the file, and the other parts of a model that is split.
  ///
  /// - Throws: the first thing found wrong with a header or with the metadata.
  public init(file path: String) throws(CheckpointError) {
    self.path = path
    let files = try Self.openParts(of: path)
    let metadata = GGUFMetadata(files[0])
    let architecture = try Self.architecture(metadata)
    var locations: [String: (file: Int, name: String)] = [:]
    for (index, file) in files.enumerated() {
      for (tensor, name) in architecture.names(of: file.header.entries.map(\.name)) {
        if let other = locations.updateValue((index, tensor), forKey: name) {
          throw .duplicateTensor(name: tensor, files: [files[other.file].path, file.path])
        }
      }
    }
    self.files = files
    self.architecture = architecture
    self.locations = locations
    func stored(_ name: String) throws(CheckpointError) -> TensorView? {
      guard let location = locations[name] else { return nil }
      return try files[location.file].tensor(named: location.name)
    }
    configuration = try GGUFConfigurationReader(
      metadata: metadata, architecture: architecture, tensor: stored
    ).configuration()
    generation = try GenerationConfiguration(metadata)
  }

  public var notices: [String] { [] }

  public var tensorNames: [String] { locations.keys.sorted() }

  public var byteCount: Int { files.reduce(0) { $0 + $1.mapping.count } }

  public func contains(_ name: String) -> Bool { locations[name] != nil }

  public func tensor(named name: String) throws(CheckpointError) -> TensorView {
    guard let location = locations[name],
      let tensor = try files[location.file].tensor(named: location.name, as: name)
    else {
      throw .missingTensor(
        name: name, directory: path, similar: similarNames(to: name, in: locations.keys))
    }
    return rowsInOrder(tensor, stored: location.name)
  }

  public func tokenizerSource() throws(CheckpointError) -> TokenizerSource {
    .vocabulary(try StoredVocabulary(GGUFMetadata(files[0])))
  }

  public func verifyUnchanged() throws(CheckpointError) {
    try Checkpoints.verifyUnchanged(files.map(\.mapping))
  }

  /// The tensor with the rows of q and k in Hugging Face's order.
  ///
  /// In the file row h * D + 2 * i + p of a head h of D rows is the element p of pair i; there it is row
  /// h * D + p * D / 2 + i. Source: llama.cpp, `conversion/llama.py`, `permute`.
  private func rowsInOrder(_ tensor: TensorView, stored name: String) -> TensorView {
    let kind = name.split(separator: ".").dropFirst(2).first
    guard architecture.hasInterleavedRows, kind == "attn_q" || kind == "attn_k" else {
      return tensor
    }
    let dimension = configuration.headDimension
    // A tensor of another shape is refused where it is asked for.
    guard let rows = tensor.shape.first, rows % dimension == 0 else { return tensor }
    return tensor.gatheringRows { row in
      let (head, element) = row.quotientAndRemainder(dividingBy: dimension)
      let (part, pair) = element.quotientAndRemainder(dividingBy: dimension / 2)
      return head * dimension + 2 * pair + part
    }
  }

  private static func architecture(
    _ metadata: GGUFMetadata
  ) throws(CheckpointError) -> GGUFArchitecture {
    let key = "general.architecture"
    let name = try metadata.required(key, try metadata.string(key))
    guard let architecture = GGUFArchitecture(rawValue: name) else {
      let known = GGUFArchitecture.allCases.map(\.rawValue).joined(separator: ", ")
      throw metadata.failure(key, "is \(quoted(name)): known are \(known)")
    }
    return architecture
  }

  private static func openParts(of path: String) throws(CheckpointError) -> [GGUFFile] {
    let parts = GGUFParts(of: path).paths
    var files: [GGUFFile] = []
    for (index, part) in parts.enumerated() {
      if parts.count > 1, try pathKind(part) == .nothing {
        throw .missingShard(index: path, shard: pathComponent(part))
      }
      let file = try GGUFFile(path: part)
      let metadata = GGUFMetadata(file)
      let number = try metadata.integer("split.no", in: 0...65_535) ?? 0
      let count = max(1, try metadata.integer("split.count", in: 0...65_535) ?? 1)
      guard count == parts.count, number == index else {
        throw metadata.failure(
          "split.no",
          "says that the file is part \(number + 1) of \(count), its name part \(index + 1) of "
            + "\(parts.count): name it NAME-00001-of-\(count) as it was published, beside the others"
        )
      }
      files.append(file)
    }
    let tensors = files.reduce(0) { $0 + $1.header.entries.count }
    let metadata = GGUFMetadata(files[0])
    let wanted = try metadata.integer("split.tensors.count", in: 0...Int(Int32.max))
    guard parts.count == 1 || wanted ?? tensors == tensors else {
      throw metadata.failure(
        "split.tensors.count",
        "is \(wanted ?? 0), the parts hold \(tensors) tensors: download them again")
    }
    return files
  }
}
