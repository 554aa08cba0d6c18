/// Carries tensors from one backend to another.
public protocol TensorLink: AnyObject, Sendable {
  /// How numbers travel, as a user reads it: "copies between GPUs", "page-locked memory".
  var name: String { get }

  /// A copy of x, of any type, on the receiving backend. It may still be on its way when the call
  /// returns; operations that the receiver is given later wait for it. x must not change afterwards.
  ///
  /// Used by one thread at a time, that of the sender.
  ///
  /// - Throws: out of memory; what the device throws.
  func send(_ x: Tensor) throws -> Tensor

  /// The seconds that each copy since the last call took, in order; waits for them.
  func copySeconds() throws -> [Double]
}

/// A backend with links of its own to some others.
public protocol LinkingBackend: Backend {
  /// A link to another backend; nil where there is none but through the host's memory.
  ///
  /// - Throws: what the device throws.
  func makeLink(to receiver: any Backend) throws -> (any TensorLink)?
}

/// Carries tensors through the host's memory, as float32: exact for every type of activations.
public final class HostLink: TensorLink, @unchecked Sendable {
  // Unchecked: the seconds belong to the sender's thread.
  private let sender: any Backend
  private let receiver: any Backend
  private var seconds: [Double] = []

  public init(from sender: any Backend, to receiver: any Backend) {
    self.sender = sender
    self.receiver = receiver
  }

  public var name: String { "the host's memory" }

  public func send(_ x: Tensor) throws -> Tensor {
    let start = ContinuousClock.now
    let y = try receiver.makeTensor(
      x.type, x.shape, purpose: "hidden states from another device")
    try receiver.write(try sender.read(x), to: y)
    seconds.append((ContinuousClock.now - start).inSeconds)
    return y
  }

  public func copySeconds() -> [Double] {
    defer { seconds = [] }
    return seconds
  }
}
