import Files
import JSON

/// A Hugging Face checkpoint directory: its configuration and its weights, mapped.
///
/// Every `*.safetensors` of the directory is opened, those that `model.safetensors.index.json`
/// leaves out too. The index decides which file counts where two hold a tensor of one name. All
/// headers are checked here; the data are read when they are used.
public final class Checkpoint: WeightSource {
  /// As given to `init`.
  public let directory: String
  public let configuration: ModelConfiguration
  /// Of `generation_config.json`; of `config.json` alone when there is none.
  public let generation: GenerationConfiguration
  /// In the order of their names.
  public let files: [SafetensorsFile]
  private let fileIndices: [ByteString: Int]
  private let quantization: WeightQuantization

  /// Opens the directory.
  ///
  /// - Throws: the first thing found wrong with the directory, its JSON files or the headers of its
  ///   weights.
  public init(directory: String) throws(CheckpointError) {
    let listing = try CheckpointDirectory(path: directory)
    self.directory = directory
    configuration = try ModelConfiguration(file: listing.configurationPath)
    quantization = try WeightQuantization(
      FieldReader(
        file: listing.configurationPath, object: readJSON(at: listing.configurationPath)))
    generation = try GenerationConfiguration(
      file: listing.generationConfigurationPath, defaults: configuration)
    var files: [SafetensorsFile] = []
    for path in listing.weightPaths { files.append(try SafetensorsFile(path: path)) }
    self.files = files
    fileIndices = try Self.assignTensors(
      of: files, index: try ShardIndex(directory: listing))
  }

  /// A checkpoint without weights: the shape of a model, for those who bring their own.
  ///
  /// - Parameter name: What stands for the directory in messages.
  /// - Throws: `.unreadable`, `.malformedJSON`, `.invalidField`.
  package init(shapeOf configuration: ModelConfiguration, named name: String)
    throws(CheckpointError)
  {
    directory = name
    self.configuration = configuration
    generation = try GenerationConfiguration(file: nil, defaults: configuration)
    files = []
    fileIndices = [:]
    quantization = .none
  }

  public var path: String { directory }

  /// Names of all tensors, in ascending order.
  public var tensorNames: [String] { fileIndices.keys.sorted().map(\.text) }

  /// Bytes of all weight files.
  public var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Whether the checkpoint holds a tensor of this name.
  public func contains(_ name: String) -> Bool { fileIndices[ByteString(name)] != nil }

  /// The tensor of this name in whatever shape it has.
  ///
  /// - Throws: `.missingTensor`, `.unsupportedElementType`.
  public func tensor(named name: String) throws(CheckpointError) -> TensorView {
    guard let index = fileIndices[ByteString(name)],
      let tensor = try files[index].tensor(named: name)
    else {
      throw .missingTensor(
        name: name, directory: directory, similar: similarNames(to: name, in: tensorNames))
    }
    return tensor.format == .float8 ? try scaled(tensor) : tensor
  }

  /// A matrix of eight bits with its scales.
  private func scaled(_ tensor: TensorView) throws(CheckpointError) -> TensorView {
    guard let suffix = quantization.scaleSuffix, tensor.shape.count == 2 else {
      throw .unsupportedElementType(file: tensor.file, name: tensor.name, found: "F8_E4M3")
    }
    let scales = try self.tensor(named: tensor.name + suffix)
    var scaled = tensor
    scaled.scales = try quantization.scales(scales, of: tensor)
    return scaled
  }

  /// What a user should know of how weights are kept, one line each.
  public var notices: [String] { [] }

  /// The directory itself.
  public func tokenizerSource() -> TokenizerSource { .directory(directory) }

  /// Throws `.changedWhileMapped` when a weight file was written to in place since it was opened.
  /// Worth a call after loading: the lost end of a page reads as zeros without a signal.
  public func verifyUnchanged() throws(CheckpointError) {
    try Checkpoints.verifyUnchanged(files.map(\.mapping))
  }

  /// For each tensor name the index of the file that counts.
  private static func assignTensors(
    of files: [SafetensorsFile], index: ShardIndex?
  ) throws(CheckpointError) -> [ByteString: Int] {
    var fileIndices: [ByteString: Int] = [:]
    for (fileIndex, file) in files.enumerated() {
      for name in file.tensorNames {
        guard let other = fileIndices.updateValue(fileIndex, forKey: ByteString(name)) else {
          continue
        }
        switch index?.file(of: name) {
        case pathComponent(file.path): break
        case pathComponent(files[other].path): fileIndices[ByteString(name)] = other
        default:
          throw .duplicateTensor(name: name, files: [files[other].path, file.path])
        }
      }
    }
    return fileIndices
  }
}
