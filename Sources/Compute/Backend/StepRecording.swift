/// A device that can record the work of a decoding step once and repeat it for other tokens.
///
/// A step reads one token of each of a few sequences. What is repeated costs the host one call, where the
/// operations of a step cost it hundreds. Ids, positions, and where keys and values lie are memory of the
/// device: within the work of a step ``LayerOperations/embed(_:table:into:)`` and ``DecodingOperations`` take
/// them from there, whatever they are given; and so do, in a step of one row,
/// ``LayerOperations/rotate(_:_:firstPosition:)``, ``AttentionOperations/store(k:v:in:firstPosition:)`` and
/// ``AttentionOperations/rowAttention(q:positions:layer:shape:into:logSumExp:)`` with the position.
public protocol StepRecording: DeviceOperations {
  /// Records the operations that `work` asks for, on this thread; none of them is computed.
  ///
  /// - Parameters:
  ///   - rows: Tokens of the step, one of each sequence.
  ///   - keyLimit: Positions that the step may be repeated at are below. Attention shares out so many keys:
  ///     a limit close to the positions is the faster one.
  ///   - work: Asks for the same operations, with the same tensors, as every repetition is to do. Tensors
  ///     that it makes live as long as the recorded step. Waiting, reading and writing throw.
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` where an operation cannot be recorded; what
  ///   `work` throws.
  func recordStep(rows: Int, keyLimit: Int, work: () throws -> Void) throws -> any RecordedStep

  /// Does what ``recordStep(rows:keyLimit:work:)`` and one repetition do, without a record: what recorded
  /// steps are compared with.
  func performStep(
    ids: [Int32], positions: [Int], keyLimit: Int, work: () throws -> Void) throws
}

/// A device whose kernels may begin before those in front of them have ended.
package protocol LaunchOverlapping: AnyObject, Sendable {
  /// Whether kernels of decoding steps do so from now on, where the device can. Results are the same.
  var overlapsLaunches: Bool { get set }
}

/// A decoding step that a device has recorded.
public protocol RecordedStep: AnyObject, Sendable {
  /// Positions that the step may be repeated at are below.
  var keyLimit: Int { get }

  /// Points the step to other sequences than those that it was recorded with or pointed to last.
  ///
  /// - Parameter sequences: The layers of each sequence, in the order in which the work named them, of the
  ///   type that they had there.
  func bind(_ sequences: [[KeyValueLayer]]) throws

  /// Repeats the step for a token of each sequence at positions below ``keyLimit``. Returns before it is
  /// done.
  func run(ids: [Int32], positions: [Int]) throws
}
