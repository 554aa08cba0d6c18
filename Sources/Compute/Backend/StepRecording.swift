/// A device that can record the work of a decoding step once and repeat it for other tokens.
///
/// A step reads one token at one position. What is repeated costs the host one call, where the operations of
/// a step cost it hundreds. The token's id and its position are memory of the device: within the work of a
/// step ``LayerOperations/embed(_:table:into:)``, ``LayerOperations/rotate(_:_:firstPosition:)``,
/// ``AttentionOperations/store(k:v:in:firstPosition:)`` and
/// ``AttentionOperations/rowAttention(q:positions:layer:shape:into:logSumExp:)`` take them from there,
/// whatever they are given.
public protocol StepRecording: DeviceOperations {
  /// Records the operations that `work` asks for, on this thread; none of them is computed.
  ///
  /// - Parameters:
  ///   - keyLimit: Positions that the step may be repeated at are below. Attention shares out so many keys:
  ///     a limit close to the positions is the faster one.
  ///   - work: Asks for the same operations, with the same tensors, as every repetition is to do. Tensors
  ///     that it makes live as long as the recorded step. Waiting, reading and writing throw.
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` where an operation cannot be recorded; what
  ///   `work` throws.
  func recordStep(keyLimit: Int, work: () throws -> Void) throws -> any RecordedStep

  /// Does what ``recordStep(keyLimit:work:)`` and one repetition do, without a record: what recorded steps
  /// are compared with.
  func performStep(id: Int32, position: Int, keyLimit: Int, work: () throws -> Void) throws
}

/// A decoding step that a device has recorded.
public protocol RecordedStep: AnyObject, Sendable {
  /// Positions that the step may be repeated at are below.
  var keyLimit: Int { get }

  /// Repeats the step for a token at a position below ``keyLimit``. Returns before it is done.
  func run(id: Int32, position: Int) throws
}
