import CBuild
import JSON
import MInference

/// What figures of this program depend on: how it was built and what it computes with.
struct BuildDescription {
  static let version = "0.1.0"

  /// In the order in which they are printed.
  let properties: [DeviceProperty]

  /// - Parameter devices: The backends that compute; of several the properties of all, each name once.
  init(computingOn devices: [any Backend]) {
    let build = [
      DeviceProperty("version", Self.version),
      DeviceProperty("commit", String(cString: cbuild_commit())),
      DeviceProperty("target", String(cString: cbuild_target())),
      DeviceProperty("swift", Self.swiftVersion),
      DeviceProperty("c_compiler", String(cString: cbuild_compiler())),
    ]
    var properties = build
    for property in devices.flatMap({ $0.properties }) {
      guard let index = properties.firstIndex(where: { $0.name == property.name }) else {
        properties.append(property)
        continue
      }
      // Several devices of one kind: what they have in common once, the rest one after the other.
      let known = properties[index].value
      guard known != property.value else { continue }
      properties[index] = DeviceProperty(property.name, known + "; " + property.value)
    }
    self.properties = properties
  }

  /// Lines that end in "\n".
  var text: String {
    let width = properties.map(\.name.count).max() ?? 0
    return properties.map { property in
      let name = String(property.name.map { $0 == "_" ? " " : $0 })
      return name + String(repeating: " ", count: width - name.count + 2)
        + printable(property.value) + "\n"
    }.joined()
  }

  var json: JSONValue {
    .object(properties.map { ($0.name, JSONValue.string($0.value)) })
  }

  /// The language version of the compiler, which is all that it says of itself.
  private static var swiftVersion: String {
    #if compiler(>=6.5)
      return "6.5 or later"
    #elseif compiler(>=6.4)
      return "6.4"
    #elseif compiler(>=6.3)
      return "6.3"
    #elseif compiler(>=6.2)
      return "6.2"
    #else
      return "6.1"
    #endif
  }
}

extension JSONValue {
  /// The object with what its figures depend on under "build", as every verb prints it.
  func describingBuild(on devices: [any Backend]) -> JSONValue {
    guard case .object(let members) = self else { return self }
    let build = BuildDescription(computingOn: devices).json
    return .object(members + [Member(key: "build", value: build)])
  }

  /// The object with the stages of a pipeline: which layers each has, and what one was measured to take.
  func describingStages(of pipeline: LayerPipeline?) -> JSONValue {
    guard case .object(let members) = self, let pipeline else { return self }
    let seconds = pipeline.measured?.devices.map(\.layer)
    let stages = zip(pipeline.stageNames, pipeline.stageLayers).enumerated().map { number, stage in
      JSONValue.object([
        ("name", .string(stage.0)), ("layers", .integer(stage.1.count)),
        ("measured_layer_s", seconds.map { .number($0[number]) } ?? .null),
        (
          "measured_tokens",
          (pipeline.measured?.devices[number].rows).map { .integer($0) } ?? .null
        ),
      ])
    }
    return .object(members + [Member(key: "stages", value: .array(stages))])
  }

  /// The same for a model's device.
  func describingBuild(of model: LanguageModel) -> JSONValue {
    describingBuild(on: [model.transformer.backend])
  }
}
