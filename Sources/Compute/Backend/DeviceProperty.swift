/// One thing that figures of a device depend on: its name, a version, the kernels in use.
public struct DeviceProperty: Sendable, Hashable {
  /// As a key of JSON: "instruction_set".
  public let name: String
  public let value: String

  public init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}
