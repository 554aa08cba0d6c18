/// The end of a link between two processes from which tensors leave.
public protocol TensorOutlet: AnyObject, Sendable {
  /// How numbers travel, as a user reads it: "NCCL", "TCP".
  var name: String { get }

  /// Sends x, which must not change afterwards. Returns before it has arrived; the receiver must expect
  /// tensors in the order in which they are sent. Used by one thread at a time.
  ///
  /// - Throws: what the device or the network throws.
  func send(_ x: Tensor, ticket: Int) throws

  /// Ends the link, also for those who wait in it.
  func abort()
}

/// The end of a link between two processes at which tensors arrive.
public protocol TensorInlet: AnyObject, Sendable {
  /// Gets ready for a tensor, in the order in which tensors are sent. Any thread may call it.
  ///
  /// - Throws: out of memory; what the device throws.
  func expect(ticket: Int, type: DataType, shape: [Int]) throws

  /// The tensor of this number; operations that the device is given later wait for it.
  ///
  /// - Throws: what the device or the network throws.
  func take(ticket: Int) throws -> Tensor

  /// Ends the link, also for those who wait in it.
  func abort()
}

/// A backend with links of its own to the same kind of backend in another process.
public protocol ProcessLinkingBackend: Backend {
  /// What both ends of one link have to know.
  ///
  /// - Throws: ``ComputeError/unavailable(what:remedy:)`` without the library for it.
  func makeLinkIdentifier() throws -> [UInt8]

  /// The sending end. Waits for the other end.
  func makeOutlet(_ identifier: [UInt8]) throws -> any TensorOutlet

  /// The receiving end. Waits for the other end.
  func makeInlet(_ identifier: [UInt8]) throws -> any TensorInlet
}
