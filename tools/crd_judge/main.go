// What an API server says of objects of CRDs: pruning, defaults, OpenAPI limits, list keys and CEL rules.
//
// Arguments: files with CRDs. Standard input: one object as JSON on each line. Standard output: for each line a
// JSON list of messages, empty for an object that would be stored.
package main

import (
	"bufio"
	"context"
	plain "encoding/json"
	"fmt"
	"os"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/json"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

type rules struct {
	schema *schema.Structural
	limits validation.SchemaValidator
	cel    *cel.Validator
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(file string, into map[string]rules) {
	text, err := os.ReadFile(file)
	must(err)
	var crd v1.CustomResourceDefinition
	must(yaml.Unmarshal(text, &crd))
	if crd.Kind != "CustomResourceDefinition" {
		return
	}
	for _, version := range crd.Spec.Versions {
		var open apiextensions.JSONSchemaProps
		must(v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &open, nil))
		structural, err := schema.NewStructural(&open)
		must(err)
		limits, _, err := validation.NewSchemaValidator(&open)
		must(err)
		into[crd.Spec.Group+"/"+version.Name+" "+crd.Spec.Names.Kind] = rules{
			structural, limits, cel.NewValidator(structural, true, celconfig.PerCallLimit),
		}
	}
}

func judge(object map[string]any, all map[string]rules) []string {
	found := []string{}
	key := fmt.Sprintf("%v %v", object["apiVersion"], object["kind"])
	its, known := all[key]
	if !known {
		return []string{"no such kind: " + key}
	}
	pruning.Prune(object, its.schema, true)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, its.schema)
	defaulting.Default(object, its.schema)
	errors := validation.ValidateCustomResource(nil, object, its.limits)
	errors = append(errors, listtype.ValidateListSetsAndMaps(nil, its.schema, object)...)
	if len(errors) == 0 {
		broken, _ := its.cel.Validate(context.Background(), nil, its.schema, object, nil, celconfig.RuntimeCELCostBudget)
		errors = append(errors, broken...)
	}
	for _, each := range errors {
		found = append(found, each.Error())
	}
	return found
}

func main() {
	all := map[string]rules{}
	for _, file := range os.Args[1:] {
		read(file, all)
	}
	lines := bufio.NewReader(os.Stdin)
	out := plain.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 || err != nil {
			return
		}
		var object map[string]any
		must(json.Unmarshal(line, &object))
		must(out.Encode(judge(object, all)))
	}
}
