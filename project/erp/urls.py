"""The pages of documents."""

from __future__ import annotations

from django.urls import path

from project.erp import views

urlpatterns = [
    path("customers/", views.customers, name="customers"),
    # A name may hold slashes.
    path("customers/<path:name>/", views.customer, name="customer"),
    path("leads/new/", views.new_lead, name="new_lead"),
]
