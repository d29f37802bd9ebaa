"""What projects build on documents with other packages."""

from __future__ import annotations

import django_filters
import django_tables2 as tables
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.urls import include, path
from django.views.generic import ListView
from django_filters.rest_framework import DjangoFilterBackend
from django_filters.views import FilterView
from django_tables2 import LazyPaginator, SingleTableMixin
from import_export import resources
from rest_framework import filters, pagination, permissions, routers, serializers, viewsets

from erpnext_bridge.class_views import DocumentViewMixin
from erpnext_bridge.decorators import connection_required
from erpnext_bridge.exchange import DocumentResource
from erpnext_bridge.rest import ChildRowSerializer, DocumentSerializer
from tests.erp.models import Customer, Lead, SalesOrder, SalesOrderItem

# Django REST framework


class CustomerSerializer(serializers.ModelSerializer):
    class Meta:
        model = Customer
        fields = ["name", "customer_name", "customer_type", "customer_group", "territory", "disabled"]


class CustomerFilter(django_filters.FilterSet):
    class Meta:
        model = Customer
        fields = {
            "customer_name": ["icontains", "startswith"],
            "territory": ["exact"],
            "disabled": ["exact"],
            "modified": ["gte"],
        }


class CustomerPages(pagination.PageNumberPagination):
    page_size = 5


class CustomerViewSet(viewsets.ModelViewSet):
    lookup_value_regex = "[^/]+"
    queryset = Customer.objects.order_by("name")
    serializer_class = CustomerSerializer
    permission_classes = [permissions.IsAuthenticated]
    pagination_class = CustomerPages
    filter_backends = [DjangoFilterBackend, filters.SearchFilter, filters.OrderingFilter]
    filterset_class = CustomerFilter
    search_fields = ["customer_name"]
    ordering_fields = ["customer_name", "modified"]


class NotedCustomers(CustomerViewSet):
    def perform_create(self, serializer):
        Group.objects.create(name=serializer.validated_data["customer_name"])
        super().perform_create(serializer)


class CursorPages(pagination.CursorPagination):
    page_size = 7
    ordering = "-creation"


class LeadViewSet(viewsets.ReadOnlyModelViewSet):
    queryset = Lead.objects.all()
    pagination_class = CursorPages

    class serializer_class(serializers.ModelSerializer):  # noqa: N801 - DRF's name
        class Meta:
            model = Lead
            fields = ["name", "lead_name"]


class RowSerializer(ChildRowSerializer):
    class Meta:
        model = SalesOrderItem
        fields = ["name", "item_code", "qty", "rate", "amount"]
        read_only_fields = ["amount"]


class OrderSerializer(DocumentSerializer):
    items = RowSerializer(many=True, required=False)

    class Meta:
        model = SalesOrder
        fields = ["name", "customer", "company", "transaction_date", "delivery_date", "grand_total", "items"]
        read_only_fields = ["grand_total"]


class OrderViewSet(viewsets.ModelViewSet):
    queryset = SalesOrder.objects.order_by("-name").prefetch_related("items")
    serializer_class = OrderSerializer
    permission_classes = [permissions.IsAuthenticated]
    pagination_class = CustomerPages


router = routers.DefaultRouter()
router.register("customers", CustomerViewSet)
router.register("noted", NotedCustomers, basename="noted")
router.register("leads", LeadViewSet)
router.register("orders", OrderViewSet)


# django-tables2 and django-filter


class CustomerTable(tables.Table):
    class Meta:
        model = Customer
        fields = ["name", "customer_name", "territory", "disabled"]


class CustomerTableView(DocumentViewMixin, SingleTableMixin, FilterView):
    queryset = Customer.objects.order_by("name")
    table_class = CustomerTable
    filterset_class = CustomerFilter
    paginate_by = 10
    template_name = "erp/table.html"


class LazyTableView(DocumentViewMixin, SingleTableMixin, ListView):
    queryset = Customer.objects.order_by("name")
    table_class = CustomerTable
    paginator_class = LazyPaginator
    paginate_by = 10
    template_name = "erp/table.html"


# django-import-export


class CustomerExport(resources.ModelResource):
    class Meta:
        model = Customer
        fields = ["name", "customer_name", "territory"]


class LeadImport(DocumentResource):
    class Meta:
        model = Lead
        fields = ["name", "first_name", "company_name"]
        import_id_fields = ["name"]
        skip_unchanged = True


# Async views


@connection_required
async def names(request):
    found = [each.name async for each in Customer.objects.order_by("name")[:3]]
    first = await Customer.objects.aget(pk=found[0])
    first.website = "https://async.example"
    await first.asave()
    return HttpResponse(", ".join(found))


urlpatterns = [
    path("api/", include(router.urls)),
    path("table/", CustomerTableView.as_view()),
    path("lazy-table/", LazyTableView.as_view()),
    path("names/", names),
    path("erpnext/", include("erpnext_bridge.urls")),
]
