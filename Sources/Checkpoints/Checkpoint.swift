import Files
import JSON

/// A Hugging Face checkpoint directory: its configuration and its weights, mapped.
///
/// Which files hold the weights is what transformers makes of the directory (``WeightFiles``). Headers
/// are checked when a file is opened; a tensor's type and data are looked at when it is asked for, so
/// that tensors and files which the model has no use for do not matter.
public final class Checkpoint: WeightSource {
  /// As given to `init`.
  public let directory: String
  public let configuration: ModelConfiguration
  /// Of `generation_config.json`; of `config.json` alone when there is none.
  public let generation: GenerationConfiguration
  private let weights: WeightFiles
  private let quantization: WeightQuantization
  /// Of model types whose experts are stored in a layout of their own.
  private let storedExperts: StoredExperts?

  /// Opens the directory.
  ///
  /// - Parameter configuration: The file that stands for config.json: a name in the directory, such as
  ///   `config_1m.json`, or a path; nil: config.json.
  /// - Throws: the first thing found wrong with the directory, its JSON files or the headers of its
  ///   weights.
  public init(directory: String, configuration: String? = nil) throws(CheckpointError) {
    let listing = try CheckpointDirectory(path: directory, configuration: configuration)
    self.directory = directory
    self.configuration = try ModelConfiguration(file: listing.configurationPath)
    let fields = try FieldReader(
      file: listing.configurationPath, object: readJSON(at: listing.configurationPath))
    quantization = try WeightQuantization(fields)
    generation = try GenerationConfiguration(
      file: listing.generationConfigurationPath, defaults: self.configuration)
    weights = try WeightFiles(listing, named: fields.string("transformers_weights"))
    storedExperts =
      ConfigurationClass.of(self.configuration.modelType).hasStoredExperts
      ? StoredExperts(weights) : nil
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
    weights = WeightFiles()
    quantization = .none
    storedExperts = nil
  }

  public var path: String { directory }

  /// The weight files that count, in the order of their names.
  public var files: [SafetensorsFile] { weights.files }

  /// Names of all tensors of ``files``, in ascending order.
  public var tensorNames: [String] {
    storedExperts?.names(inPlaceOf: weights.tensorNames) ?? weights.tensorNames
  }

  /// Bytes of ``files``.
  public var byteCount: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Whether a file of the directory holds a tensor of this name.
  public func contains(_ name: String) -> Bool {
    storedExperts?.contains(name) ?? false || weights.contains(name)
  }

  /// The tensor of this name in whatever shape it has.
  ///
  /// - Throws: `.missingTensor`, `.missingShard`, `.duplicateTensor`, `.unsupportedElementType`; what is
  ///   wrong with the file that should hold it.
  public func tensor(named name: String) throws(CheckpointError) -> TensorView {
    if let expert = try storedExperts?.tensor(named: name) { return expert }
    guard let tensor = try weights.tensor(named: name) else {
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

  /// What a user should know of the configuration and of which files are read, one line each.
  public var notices: [String] { configuration.notices + weights.notices }

  /// The directory itself.
  public func tokenizerSource() -> TokenizerSource { .directory(directory) }

  /// Throws `.changedWhileMapped` when a weight file that tensors were taken from was written to in
  /// place since it was opened. Worth a call after loading: the lost end of a page reads as zeros
  /// without a signal.
  public func verifyUnchanged() throws(CheckpointError) {
    try Checkpoints.verifyUnchanged(weights.filesInUse.map(\.mapping))
  }
}
